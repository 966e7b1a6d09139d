"""Customers: adding and finding them."""

from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.service import Act, record
from service.customers.schemas import CustomerCreate
from service.customers.tables import Customer
from service.errors import NotFound
from service.ids import new_id


async def add(session: AsyncSession, act: Act, wanted: CustomerCreate) -> Customer:
    """A new customer. The audit row holds the id alone: names belong to this table only."""
    customer = Customer(id=new_id("cus"), name=wanted.name, email=wanted.email, created_at=act.clock())
    session.add(customer)
    await record(session, act, "customer.added", customer.id)
    return customer


async def get_customer_or_raise(session: AsyncSession, customer_id: str, field: str = "customer_id") -> Customer:
    """The customer of this id.

    Raises:
        NotFound
    """
    customer = await session.get(Customer, customer_id)
    if customer is None:
        raise NotFound(field, "no customer of this id")
    return customer
