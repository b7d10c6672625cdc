"""SQLAlchemy: tables made, changed and read through its core and its ORM, and found again by reflection. Takes a DSN."""

import datetime
import decimal
import sys

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "sa_customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)
    joined: Mapped[datetime.date] = mapped_column(default=datetime.date(2024, 1, 1))


class Order(Base):
    __tablename__ = "sa_orders"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    customer_id: Mapped[int] = mapped_column(index=True)
    total: Mapped[decimal.Decimal] = mapped_column(sa.Numeric(10, 2))
    note: Mapped[str | None]


def engine_for(dsn):
    parts = dict(part.split("=", 1) for part in dsn.split())
    return sa.create_engine(f"postgresql+psycopg://{parts['user']}@{parts['host']}:{parts['port']}/{parts['dbname']}")


def core(engine):
    orders = Order.__table__
    with engine.begin() as conn:
        conn.execute(sa.insert(orders), [{"id": n, "customer_id": n % 3 + 1, "total": decimal.Decimal(n) / 4} for n in range(20)])
        conn.execute(insert(orders).values(id=1, customer_id=9, total=0).on_conflict_do_nothing())
        upsert = insert(orders).values(id=2, customer_id=9, total=5)
        conn.execute(upsert.on_conflict_do_update(index_elements=["id"], set_={"total": upsert.excluded.total + orders.c.total}))
        found = conn.execute(sa.update(orders).where(orders.c.id == 3).values(note="three").returning(orders.c.id, orders.c.note)).all()
        assert found == [(3, "three")], found
    with engine.connect() as conn:
        total = sa.func.sum(orders.c.total).label("total")
        rows = conn.execute(sa.select(orders.c.customer_id, total).group_by(orders.c.customer_id).order_by(sa.desc("total"))).all()
        assert len(rows) == 3 and rows[0].total >= rows[2].total, rows
        assert conn.scalar(sa.select(orders.c.total).where(orders.c.id == 2)) == decimal.Decimal("5.50")
        assert conn.scalar(sa.select(sa.func.count()).select_from(orders).where(orders.c.note.is_(None))) == 19
        ranked = sa.select(orders.c.id, sa.func.row_number().over(partition_by=orders.c.customer_id, order_by=orders.c.id).label("r")).subquery()
        assert conn.scalars(sa.select(ranked.c.id).where(ranked.c.r == 1).order_by(ranked.c.id)).all() == [0, 1, 2]
        page = conn.scalars(sa.select(orders.c.id).order_by(orders.c.id.desc()).limit(3).offset(2)).all()
        assert page == [17, 16, 15], page
    try:
        with engine.begin() as conn:
            conn.execute(sa.insert(orders).values(id=100, customer_id=1, total=1))
            conn.execute(sa.insert(orders).values(id=1, customer_id=1, total=1))
        raise AssertionError("a duplicate was taken")
    except sa.exc.IntegrityError:
        pass
    with engine.connect() as conn:
        assert conn.scalar(sa.select(sa.func.count()).where(orders.c.id == 100)) == 0


def orm(engine):
    with Session(engine) as session:
        session.add_all([Customer(name=name) for name in ("ann", "bob", "eve")])
        session.commit()
        ann = session.scalars(sa.select(Customer).where(Customer.name == "ann")).one()
        assert ann.id and ann.joined == datetime.date(2024, 1, 1)
        ann.name = "anna"
        session.commit()
        joined = sa.select(Customer.name, sa.func.count(Order.id)).join(Order, Order.customer_id == Customer.id, isouter=True)
        rows = session.execute(joined.group_by(Customer.name).order_by(Customer.name)).all()
        assert [row[0] for row in rows] == ["anna", "bob", "eve"], rows
        session.delete(ann)
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).select_from(Customer)) == 2


def reflection(engine):
    seen = sa.inspect(engine)
    assert seen.has_table("sa_orders") and not seen.has_table("sa_nosuch")
    columns = {column["name"]: column for column in seen.get_columns("sa_orders")}
    assert list(columns) == ["id", "customer_id", "total", "note"], list(columns)
    assert isinstance(columns["total"]["type"], sa.Numeric) and columns["total"]["type"].precision == 10
    assert columns["note"]["nullable"] and not columns["total"]["nullable"]
    assert seen.get_pk_constraint("sa_orders")["constrained_columns"] == ["id"]
    assert [index["column_names"] for index in seen.get_indexes("sa_orders")] == [["customer_id"]]
    assert [c["column_names"] for c in seen.get_unique_constraints("sa_customers")] == [["name"]]
    assert {"sa_customers", "sa_orders"} <= set(seen.get_table_names())
    reflected = sa.Table("sa_customers", sa.MetaData(), autoload_with=engine)
    assert [c.name for c in reflected.primary_key] == ["id"]


def main(dsn):
    engine = engine_for(dsn)
    with engine.begin() as conn:
        conn.execute(sa.text("DROP TABLE IF EXISTS sa_orders"))
        conn.execute(sa.text("DROP TABLE IF EXISTS sa_customers"))
    Base.metadata.create_all(engine)
    core(engine)
    orm(engine)
    reflection(engine)
    Base.metadata.drop_all(engine)
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1])
