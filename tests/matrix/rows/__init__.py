"""The rows of the matrix, by kind of program."""

from tests.matrix.rows.coreutils import COREUTILS
from tests.matrix.rows.databases import DATABASES
from tests.matrix.rows.git import GIT
from tests.matrix.rows.native import NATIVE
from tests.matrix.rows.python import PYTHON
from tests.matrix.rows.runtimes import RUNTIMES
from tests.matrix.rows.shells import SHELLS

PROGRAMS = [*PYTHON, *NATIVE, *RUNTIMES, *SHELLS, *COREUTILS, *GIT, *DATABASES]
