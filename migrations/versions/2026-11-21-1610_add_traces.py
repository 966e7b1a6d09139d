"""Add traces of suspects."""

import sqlalchemy as sa
from alembic import op

revision = "5d20e8b7a914"
down_revision = "c41f7a90d2e8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ownership_traces",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("version_id", sa.String(length=36), nullable=False),
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("suspect_sha256", sa.String(length=64), nullable=False),
        sa.Column("probe", sa.String(length=16), nullable=False),
        sa.Column("draws", sa.Integer(), nullable=False),
        sa.Column("students", sa.Integer(), nullable=True),
        sa.Column("found", sa.JSON(), nullable=True),
        sa.Column("evidence", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"], name=op.f("fk_ownership_traces_version_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_ownership_traces_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ownership_traces")),
        sa.UniqueConstraint("job_id", name=op.f("uq_ownership_traces_job_id")),
    )
    with op.batch_alter_table("ownership_traces", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ownership_traces_version_id"), ["version_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("ownership_traces", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_ownership_traces_version_id"))
    op.drop_table("ownership_traces")
