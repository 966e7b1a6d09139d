"""`/v1/customers`."""

from fastapi import APIRouter
from sqlalchemy import select

from service.admin_keys.auth import AsAuditor, AsIssuer
from service.customers import service
from service.customers.schemas import CustomerCreate, CustomerRead
from service.customers.tables import Customer
from service.database import Reading, Transaction
from service.ids import CustomerId
from service.openapi import ADMIN, PROBLEMS
from service.pages import CursorText, Limit, Page, page

router = APIRouter(prefix="/v1/customers", tags=["issuing"], responses=ADMIN)


@router.post("", status_code=201)
async def add_a_customer(body: CustomerCreate, act: AsIssuer, session: Transaction) -> CustomerRead:
    """Add a customer."""
    return CustomerRead.model_validate(await service.add(session, act, body))


@router.get("")
async def list_customers(
    act: AsAuditor, session: Reading, limit: Limit = 50, cursor: CursorText = None
) -> Page[CustomerRead]:
    """Customers, oldest first."""
    return await page(session, select(Customer), Customer, CustomerRead.model_validate, limit, cursor)


@router.get("/{customer_id}", responses={404: PROBLEMS[404]})
async def show_a_customer(customer_id: CustomerId, act: AsAuditor, session: Reading) -> CustomerRead:
    """One customer."""
    return CustomerRead.model_validate(await service.get_customer_or_raise(session, customer_id))
