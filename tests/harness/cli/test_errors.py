from pathlib import Path

import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError

from harness.cli import app


def failing(database: str, statement: str) -> sqlalchemy.exc.OperationalError:
    """What SQLAlchemy raises where a database takes no more."""
    engine = sqlalchemy.create_engine(database)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        with pytest.raises(sqlalchemy.exc.OperationalError) as caught:
            connection.exec_driver_sql(statement)
    engine.dispose()
    return caught.value


def test_a_database_without_room_is_a_full_disk(tmp_path: Path) -> None:
    error = failing(
        f"sqlite:///{tmp_path / 'study.db'}", "CREATE TABLE t (i INTEGER PRIMARY KEY, t TEXT UNIQUE)"
    )
    assert app._sentence(error) == "the disk is full; make room or choose another folder with --out"


def test_a_storage_without_room_is_a_full_disk_too() -> None:
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = failing("sqlite://", "CREATE TABLE t (i INTEGER PRIMARY KEY, t TEXT UNIQUE)")
    assert app._sentence(error) == "the disk is full; make room or choose another folder with --out"


def test_a_statement_that_is_wrong_is_a_fault_of_the_program(tmp_path: Path) -> None:
    assert app._sentence(failing(f"sqlite:///{tmp_path / 'study.db'}", "SELECT 1 FROM nothing")) is None
