"""Add students and jobs, and what licenses and credentials say of them."""

import sqlalchemy as sa
from alembic import op

revision = "c41f7a90d2e8"
down_revision = "8b27d4e61c05"
branch_labels = None
depends_on = None

SHARED = sa.text("license_id IS NULL AND state IN ('pending', 'ready')")
FK = "fk_credentials_student_id"
OWN = sa.text("state = 'pending'")


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("step", sa.String(length=32), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("failure", sa.String(length=500), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_jobs_created_at_id"), ["created_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_state"), ["state"], unique=False)
    op.create_table(
        "students",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("version_id", sa.String(length=36), nullable=False),
        sa.Column("license_id", sa.String(length=36), nullable=True),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.Column("issuer_key_id", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("metrics", sa.JSON(), nullable=True),
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("failure", sa.String(length=500), nullable=True),
        sa.Column("overlap_hours", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"], name=op.f("fk_students_version_id")),
        sa.ForeignKeyConstraint(["license_id"], ["licenses.id"], name=op.f("fk_students_license_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_students")),
        sa.UniqueConstraint("job_id", name=op.f("uq_students_job_id")),
    )
    with op.batch_alter_table("students", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_students_version_id"), ["version_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_students_license_id"), ["license_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_students_created_at_id"), ["created_at", "id"], unique=False)
        batch_op.create_index(
            "uq_students_shared", ["version_id"], unique=True, sqlite_where=SHARED, postgresql_where=SHARED
        )
        batch_op.create_index(
            "uq_students_pending", ["license_id"], unique=True, sqlite_where=OWN, postgresql_where=OWN
        )
    # Nullable and without default: both databases add them in place, beside the previous release.
    op.add_column("licenses", sa.Column("student_id", sa.String(length=36), nullable=True))
    op.create_index(op.f("ix_licenses_student_id"), "licenses", ["student_id"], unique=False)
    op.add_column("credentials", sa.Column("statement", sa.LargeBinary(), nullable=True))
    op.add_column("credentials", sa.Column("issuer_key_id", sa.String(length=32), nullable=True))
    student = sa.Column("student_id", sa.String(length=36), sa.ForeignKey("students.id", name=FK), nullable=True)
    op.add_column("credentials", student, inline_references=op.get_bind().dialect.name == "sqlite")
    op.create_index(op.f("ix_credentials_student_id"), "credentials", ["student_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_credentials_student_id"), "credentials")
    with op.batch_alter_table("credentials", schema=None) as batch_op:
        batch_op.drop_column("student_id")
        batch_op.drop_column("issuer_key_id")
        batch_op.drop_column("statement")
    op.drop_index(op.f("ix_licenses_student_id"), "licenses")
    op.drop_column("licenses", "student_id")
    op.drop_table("students")
    op.drop_table("jobs")
