"""What is said when an optional package is not there."""

from __future__ import annotations

import subprocess
import sys


def test_spark_without_pyspark_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['pyspark'] = None\n"
        "from ggufvlm.errors import MissingExtra\n"
        "try: import ggufvlm.spark\n"
        "except MissingExtra as error: print(error, '|', error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "ggufvlm.spark needs an optional package | pip install 'ggufvlm[spark]'\n"
