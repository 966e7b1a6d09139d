"""The API's table of contents."""

from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer

from service import health
from service.admin_keys import endpoints as admin_keys
from service.catalogue import endpoints as catalogue
from service.customers import endpoints as customers
from service.licenses import endpoints as licenses
from service.predictions import endpoints as predictions
from service.sessions import endpoints as sessions

# Documents the key and gives the docs page its Authorize button; who may enter is the middleware's to say.
shows_key = [Security(HTTPBearer(auto_error=False, scheme_name="key", description="license key, token or admin key"))]

router = APIRouter()
router.include_router(sessions.router)
router.include_router(predictions.router)
router.include_router(customers.router, dependencies=shows_key)
router.include_router(licenses.router, dependencies=shows_key)
router.include_router(catalogue.router, dependencies=shows_key)
router.include_router(admin_keys.router, dependencies=shows_key)
router.include_router(health.public)
router.include_router(health.router, dependencies=shows_key)
