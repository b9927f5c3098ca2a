"""A worker of its own process for `test_durability`: records, and prints each id acknowledged.

Ends with 3 when the database goes away.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

from nearedge.errors import DatabaseUnavailable
from nearedge.settings import Settings
from nearedge.store.claims import Claims
from nearedge.store.connection import connect
from nearedge.store.spectra_store import SpectraStore

_spec = importlib.util.spec_from_file_location("documents", Path(__file__).with_name("conftest.py"))
assert _spec is not None
assert _spec.loader is not None
documents = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(documents)


def main() -> int:
    database = connect(Settings(home=Path(sys.argv[1]), mongo_uri=None, database_timeout=1))
    if sys.argv[2] == "claim":
        with Claims(database).hold("c"):
            print("claimed", flush=True)
            time.sleep(60)
        return 0
    store = SpectraStore(database)
    for index in range(int(sys.argv[2]), 10**9):
        text = f"TITLE {index}\n" + "ATOMS\n" * 1000
        record = documents.record(index, points=200, inputs=text)
        try:
            store.record(*record)
        except DatabaseUnavailable:
            return 3
        print(record.calculation.calculation_id, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
