"""Add models that are unloaded."""

import sqlalchemy as sa
from alembic import op

revision = "8e61c0d94f37"
down_revision = "5d20e8b7a914"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("models", schema=None) as batch_op:
        batch_op.add_column(sa.Column("unloaded", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("models", schema=None) as batch_op:
        batch_op.drop_column("unloaded")
