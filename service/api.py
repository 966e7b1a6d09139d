"""The API's table of contents."""

from fastapi import APIRouter

from service import health
from service.admin_keys import endpoints as admin_keys
from service.catalogue import endpoints as catalogue
from service.customers import endpoints as customers
from service.jobs import endpoints as jobs
from service.licenses import endpoints as licenses
from service.oip import endpoints as oip
from service.oip import repository
from service.ownership import endpoints as ownership
from service.ownership.traces import endpoints as traces
from service.predictions import endpoints as predictions
from service.sessions import endpoints as sessions

router = APIRouter()
router.include_router(sessions.router)
router.include_router(predictions.router)
router.include_router(oip.router)
router.include_router(repository.router)
router.include_router(customers.router)
router.include_router(licenses.router)
router.include_router(jobs.router)
router.include_router(catalogue.router)
router.include_router(ownership.router)
router.include_router(traces.router)
router.include_router(admin_keys.router)
router.include_router(health.router)
