"""Add ownership commitments and verifications."""

import sqlalchemy as sa
from alembic import op

revision = "8b27d4e61c05"
down_revision = "3e6f0b9c2a71"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ownership_commitments",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("model_id", sa.String(length=36), nullable=False),
        sa.Column("version_id", sa.String(length=36), nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.Column("statement_sha256", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.String(length=43), nullable=False),
        sa.Column("signature", sa.String(length=86), nullable=False),
        sa.Column("receipt", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_ownership_commitments_model_id")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.id"], name=op.f("fk_ownership_commitments_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ownership_commitments")),
        sa.UniqueConstraint("statement_sha256", name=op.f("uq_ownership_commitments_statement_sha256")),
    )
    with op.batch_alter_table("ownership_commitments", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ownership_commitments_model_id"), ["model_id"], unique=False)

    op.create_table(
        "ownership_verifications",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("commitment_id", sa.String(length=36), nullable=False),
        sa.Column("mark", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("matches", sa.Integer(), nullable=False),
        sa.Column("log10_adjusted_p", sa.Double(), nullable=False),
        sa.Column("suspect_sha256", sa.String(length=64), nullable=False),
        sa.Column("suspect_known_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["commitment_id"], ["ownership_commitments.id"], name=op.f("fk_ownership_verifications_commitment_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ownership_verifications")),
    )
    with op.batch_alter_table("ownership_verifications", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ownership_verifications_commitment_id"), ["commitment_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("ownership_verifications", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_ownership_verifications_commitment_id"))

    op.drop_table("ownership_verifications")
    with op.batch_alter_table("ownership_commitments", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_ownership_commitments_model_id"))

    op.drop_table("ownership_commitments")
