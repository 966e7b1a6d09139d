"""Which administrator may do what: `Annotated` dependencies for the endpoints. Recognition is the middleware's."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security

from service.admin_keys.service import Admin
from service.admin_keys.tables import Role
from service.audit.service import Act
from service.errors import AdminKeyInvalid, RoleMissing
from service.gateway import gateway_of
from service.openapi import BEARER


def _with_role(*roles: Role) -> Callable[..., Awaitable[Act]]:
    async def act(request: Request, _: Annotated[object, Security(BEARER)]) -> Act:
        admin: Admin | None = request.scope.get("signet.admin")
        if admin is None:
            raise AdminKeyInvalid
        if admin.role not in roles:
            raise RoleMissing(f"this needs the role {' or '.join(roles)}; the key shown is an {admin.role}'s")
        return Act(admin.id, request.scope["signet.request_id"], gateway_of(request).clock)

    return act


AsOwner = Annotated[Act, Depends(_with_role(Role.OWNER))]
AsIssuer = Annotated[Act, Depends(_with_role(Role.OWNER, Role.ISSUER))]
AsAuditor = Annotated[Act, Depends(_with_role(Role.OWNER, Role.ISSUER, Role.AUDITOR))]
