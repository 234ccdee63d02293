"""Litmus programs: all that a crash at any moment can leave of each, by profile. The tables were written by hand, from the sources named.

`one two` are two paths, `|` separates outcomes, `f:ab` is a file of two units, `f:` an empty one, `.` a unit of zeros, `#` one of
garbage, `?` either; `-` no path at all. A page is a unit, unless said otherwise.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

from tests.explore.crash.small import Program, Step

UNITS = 4096


class Litmus(NamedTuple):
    """A program, and what can be left: `common`, and `more` beyond that by profile; as for ext4 where one is missing."""

    steps: tuple[Step, ...]
    first: dict[str, str]
    common: str
    more: dict[str, str]
    unit: int = UNITS
    sector: int = UNITS

    def program(self) -> Program:
        """Returns it, run."""
        return Program(self.steps, self.first, self.unit)

    def expected(self, profile: str) -> set[str]:
        """Returns what can be left."""
        more = self.more.get(profile, "" if profile == "kill" else self.more["ext4"])
        return outcomes(f"{self.common}|{more}")


def outcomes(table: str) -> set[str]:
    """Those that a table names."""
    found = set[str]()
    for one in filter(None, table.split("|")):
        ways = product(*("." "#" if letter == "?" else letter for letter in one))
        found |= {"" if one == "-" else "".join(way) for way in ways}
    return found


def same(more: str) -> dict[str, str]:
    """The same for all file systems."""
    return {"ext4": more}


OLD = {"f": "a"}
REPLACE = ("create", "t"), ("append", "t", "b")
LITMUS = {
    # ALICE (OSDI 2014), table 1, "append": content atomicity; ext4 data=ordered: i_disksize follows allocation (inode.c,
    # mpage_map_and_submit_extent), but an unwritten or mapped block may still be zero (dioread_nolock; ext4_da_should_update_i_disksize);
    # XFS: xfs_end_io runs ioend by ioend, the size is that of the last one done.
    "prefix append": Litmus(
        (("append", "f", "bcd"),), OLD, "f:a|f:ab|f:abc|f:abcd",
        {
            "ext4": "f:a.|f:a..|f:a...|f:ab.|f:ab..|f:abc.",
            "xfs": "f:a.c|f:a..d|f:a.cd|f:ab.d",
            "btrfs": "",
            "posix": "f:a?|f:a??|f:a???|f:ab?|f:ab??|f:abc?|f:a?c|f:a??d|f:a?cd|f:ab?d|f:a?c?",
        },
    ),
    # Two appends in one page: they are written together, or the first before (generic_perform_write, writepage).
    "two appends in one sector": Litmus(
        (("append", "f", "b"), ("append", "f", "c")), OLD, "f:a|f:ab|f:abc",
        {"ext4": "f:a.|f:a..|f:ab.", "xfs": "", "btrfs": "", "posix": "f:a?|f:a??|f:ab?"}, unit=100,
    ),
    "two appends": Litmus(
        (("append", "f", "b"), ("append", "f", "c")), OLD, "f:a|f:ab|f:abc",
        {"ext4": "f:a.|f:a..|f:ab.", "xfs": "f:a.c", "btrfs": "", "posix": "f:a?|f:a??|f:ab?|f:a?c"},
    ),
    # Ferrite (ASPLOS 2016), figure 1: replace by rename. ext4: alloc_da_blocks in ext4_rename starts the flush, nobody awaits it; XFS has
    # none; rename(2): the name is there at any moment.
    "replace by rename": Litmus(
        (*REPLACE, ("rename", "t", "f")), OLD, "f:a|f:a t:|f:a t:b|f:b",
        {"ext4": "f:a t:.|f:|f:.", "xfs": "f:", "btrfs": "f:", "posix": "f:a t:?|f:|f:?"},
    ),
    # fsync(2): of a new file, its name is not durable by POSIX; ext4 (ext4_sync_file) and XFS (xfs_log_force_seq) commit the journal up to
    # its creation; btrfs (btrfs_log_inode_parent) logs its name. With the fsync the rename is complete or not there.
    "replace by rename, file synced": Litmus(
        (*REPLACE, ("fsync", "t"), ("rename", "t", "f")), OLD, "f:a|f:a t:|f:a t:b|f:b",
        {"ext4": "f:a t:.", "xfs": "", "btrfs": "", "posix": "f:a t:?"},
    ),
    "replace by rename, file and directory synced": Litmus(
        (*REPLACE, ("fsync", "t"), ("rename", "t", "f"), ("fsync", ".")), OLD, "f:a|f:a t:|f:a t:b|f:b",
        {"ext4": "f:a t:.", "xfs": "", "btrfs": "", "posix": "f:a t:?"},
    ),
    # ext4_setattr, xfs_setattr_size: the truncation is in the journal before there are data; ext4(5), auto_da_alloc: a flush at close(2)
    # is not awaited. POSIX: the old size with new data is possible too.
    "replace by truncate": Litmus(
        (("truncate", "f", 0), ("append", "f", "bc")), {"f": "aa"}, "f:aa|f:|f:b|f:bc",
        {
            "ext4": "f:.|f:..|f:b.",
            "xfs": "f:.c",
            "btrfs": "",
            "posix": "f:?|f:??|f:b?|f:?c|f:ba|f:ac",
        },
    ),
    # fsync(2), Notes: "does not necessarily ensure that the entry in the directory ... has also reached disk".
    "create and fsync": Litmus(
        (("create", "f"), ("append", "f", "a"), ("fsync", "f"), ("say",)), {}, "-|f:|f:a",
        {"ext4": "f:.", "xfs": "", "btrfs": "", "posix": "f:?"},
    ),
    # Sectors are written whole, in any order (ALICE, 3.2); btrfs writes an extent elsewhere (btrfs_finish_ordered_io).
    "overwrite across sectors": Litmus(
        (("pwrite", "f", 0, "bcd"),), {"f": "aaaa"}, "f:aaaa|f:bcda",
        {"ext4": "f:acaa|f:aada|f:acda|f:baaa|f:bada|f:bcaa", "btrfs": ""}, 512, 512,
    ),
    # Of one sector the disk has what one moment had; btrfs has blocks of 4 KiB.
    "overwrites of one sector": Litmus(
        (("pwrite", "f", 0, "b"), ("pwrite", "f", 1, "c")), {"f": "aa"}, "f:aa|f:ba|f:bc", same(""), 256, 512,
    ),
    "overwrites of one page": Litmus(
        (("pwrite", "f", 0, "b"), ("pwrite", "f", 1, "c")), {"f": "aa"}, "f:aa|f:ba|f:bc", {"ext4": "f:ac", "btrfs": ""}, 512, 512,
    ),
    # A header in the sector of the log behind it: the sector is written, the new size is not committed yet.
    "append, then overwrite of the header": Litmus(
        (("append", "f", "b"), ("pwrite", "f", 0, "h")), {"f": "aa"}, "f:aa|f:aab|f:hab",
        {"ext4": "f:aa.|f:ha", "xfs": "f:ha", "btrfs": "f:ha", "posix": "f:aa?|f:ha"}, unit=100,
    ),
    # ext4, XFS: one journal (jbd2_journal_commit_transaction, xlog_cil_push); btrfs: one transaction.
    "unlink before the rename is durable": Litmus(
        (("rename", "t", "f"), ("unlink", "old")), {"t": "b", "old": "a"}, "old:a t:b|f:b old:a|f:b", {"ext4": "", "posix": "t:b"},
    ),
    # gzip 1.12, cp + rm: the new file has no data yet, the old one no name any more.
    "copy, then unlink": Litmus(
        (("create", "g"), ("append", "g", "b"), ("unlink", "f")), OLD, "f:a|f:a g:|f:a g:b|g:b",
        {"ext4": "f:a g:.|g:|g:.", "xfs": "g:", "btrfs": "g:", "posix": "f:a g:?|g:|g:?|-"},
    ),
    "write and link": Litmus(
        (*REPLACE, ("link", "t", "f")), {}, "-|t:|t:b|f:b t:b",
        {
            "ext4": "t:.|f: t:|f:. t:.",
            "xfs": "f: t:",
            "btrfs": "f: t:",
            "posix": "t:?|f: t:|f:. t:.|f:# t:#|f:|f:?|f:b",
        },
    ),
    # btrfs, tree-log.c, log_new_ancestors: with the file go its names and the directories that are new; ext4 and XFS: all earlier metadata;
    # by POSIX every directory above has to be synced.
    "fsync of a file in a new directory": Litmus(
        (("create", "x"), ("mkdir", "d"), ("create", "d/f"), ("append", "d/f", "a"), ("fsync", "d/f")), {},
        "-|x:|d/ x:|d/ d/f: x:|d/ d/f:a x:",
        {
            "ext4": "d/ d/f:. x:",
            "xfs": "",
            "btrfs": "d/ d/f:a",
            "posix": "d/|d/ d/f:|d/ d/f:?|d/ d/f:a|d/ d/f:? x:",
        },
    ),
    # fdatasync(2): what is needed to read the data; ext4: i_datasync_tid is that of the last new block or size.
    "append, then fdatasync": Litmus(
        (("create", "x"), ("append", "f", "b"), ("fdatasync", "f"), ("say",)), OLD, "f:a|f:a x:|f:ab x:",
        {"ext4": "f:a. x:", "xfs": "", "btrfs": "f:ab", "posix": "f:a?|f:ab|f:a? x:"},
    ),
    "fdatasync of an overwrite": Litmus(
        (("create", "x"), ("pwrite", "f", 0, "b"), ("fdatasync", "f"), ("say",)), OLD, "f:a|f:a x:|f:b x:", same("f:b"),
    ),
    # fsync of it: the time of its change is metadata, so all before is committed; not on btrfs.
    "fsync of an overwrite": Litmus(
        (("create", "x"), ("pwrite", "f", 0, "b"), ("fsync", "f"), ("say",)), OLD, "f:a|f:a x:|f:b x:", same("f:b"),
    ),
    # open(2), O_DSYNC: as if each write were followed by fdatasync.
    "O_DSYNC write": Litmus(
        (("create", "x"), ("dsync_write", "f", 0, "bc"), ("say",)), {"f": "aa"}, "f:aa|f:aa x:|f:bc x:",
        {"kill": "f:ba x:", "ext4": "f:ac|f:ac x:|f:ba|f:ba x:|f:bc", "btrfs": "f:bc"},
    ),
    # sync_file_range(2), Warning: no metadata, and the write cache of the disk is not flushed.
    "sync_file_range": Litmus(
        (("append", "f", "b"), ("sync_file_range", "f"), ("say",)), OLD, "f:a|f:ab", {"ext4": "f:a.", "xfs": "", "btrfs": "", "posix": "f:a?"},
    ),
    # ALICE, 2.3: across files nothing but fsync keeps an order.
    "two files in order": Litmus(
        (("pwrite", "f", 0, "b"), ("pwrite", "g", 0, "b")), {"f": "a", "g": "a"}, "f:a g:a|f:b g:a|f:b g:b", same("f:a g:b"),
    ),
    "two files in order, synced between": Litmus(
        (("pwrite", "f", 0, "b"), ("fsync", "f"), ("pwrite", "g", 0, "b")), {"f": "a", "g": "a"}, "f:a g:a|f:b g:a|f:b g:b", same(""),
    ),
    "two files appended to in order": Litmus(
        (("append", "f", "b"), ("append", "g", "b")), {"f": "a", "g": "a"}, "f:a g:a|f:ab g:a|f:ab g:ab",
        {"ext4": "f:a g:ab|f:a. g:a|f:a. g:a.|f:a. g:ab|f:a g:a.|f:ab g:a.", "xfs": "f:a g:ab", "btrfs": "f:a g:ab",
         "posix": "f:a g:ab|f:a? g:a|f:a? g:a?|f:a? g:ab|f:a g:a?|f:ab g:a?"},
    ),
    # The entries of a directory go where it goes.
    "rename of a directory": Litmus(
        (("create", "d/f"), ("rename", "d", "e"), ("create", "e/g")), {"d/": ""}, "d/|d/ d/f:|e/ e/f:|e/ e/f: e/g:",
        {"ext4": "", "posix": "e/|e/ e/g:|d/ d/g:|d/ d/f: d/g:"},
    ),
    # Rebello et al. (ATC 2020), table 1: the pages are clean after a failed fsync, the next one succeeds without writing them.
    "failed fsync": Litmus(
        (("pwrite", "f", 0, "b"), ("failing_fsync", "f"), ("fsync", "f"), ("say",)), OLD, "f:a|f:b", same(""),
    ),
    "write again after a failed fsync": Litmus(
        (("pwrite", "f", 0, "b"), ("failing_fsync", "f"), ("pwrite", "f", 0, "c"), ("fsync", "f"), ("say",)), OLD, "f:a|f:b|f:c", same(""),
    ),
    # fsync of a directory: its entries, not what is in the files (fsync(2)).
    "fsync of the directory alone": Litmus(
        (("create", "f"), ("append", "f", "a"), ("fsync", "."), ("say",)), {}, "-|f:|f:a",
        {"ext4": "f:.", "xfs": "", "btrfs": "", "posix": "f:?"},
    ),
    # The blocks of a file made longer come with the journal; the size as well. XFS the same; by POSIX data can make it longer.
    "write into a file made longer": Litmus(
        (("truncate", "f", 3), ("pwrite", "f", 1, "b"), ("pwrite", "f", 2, "c")), OLD, "f:a|f:a..|f:ab.|f:abc",
        {"ext4": "f:a.c", "posix": "f:a.c|f:ab"},
    ),
    "write across the old end of a file made longer": Litmus(
        (("truncate", "f", 3), ("pwrite", "f", 0, "bcd")), OLD, "f:a|f:a..|f:bcd", {"ext4": "f:b", "posix": ""}, unit=100,
    ),
    # One sector: the new size with the old sector, or the new sector with the old size, but no half of it.
    "overwrite and append at once": Litmus(
        (("pwrite", "f", 0, "bc"),), OLD, "f:a|f:bc", {"ext4": "f:b|f:a.", "xfs": "f:b", "btrfs": "f:b", "posix": "f:b|f:a?"}, unit=100,
    ),
    # Stores to a mapped file (msync(2), mmap(2)): a dirty page is written back when the kernel likes, whatever is synced before the
    # msync (mm/page-writeback.c). Of two looks at the memory nobody knows in which order was stored in between.
    "store, then the journal": Litmus(
        (("store", "f", 0, "b", 0), ("pwrite", "j", 0, "b"), ("fsync", "j"), ("fdatasync", "f"), ("say",)), {"f": "a", "j": "a"},
        "f:a j:a|f:b j:a|f:b j:b", same("f:a j:b"),
    ),
    "store before the journal is synced": Litmus(
        (("pwrite", "j", 0, "b"), ("store", "f", 0, "b", 0), ("fsync", "j"), ("fdatasync", "f"), ("say",)), {"f": "a", "j": "a"},
        "f:a j:a|f:a j:b|f:b j:b", same("f:b j:a"),
    ),
    "store after the journal is synced": Litmus(
        (("pwrite", "j", 0, "b"), ("fsync", "j"), ("store", "f", 0, "b", 2), ("fdatasync", "f"), ("say",)), {"f": "a", "j": "a"},
        "f:a j:a|f:a j:b|f:b j:b", same(""),
    ),
    "store found after another's fsync": Litmus(
        (("pwrite", "j", 0, "b"), ("fsync", "j"), ("store", "f", 0, "b", 0), ("fdatasync", "f"), ("say",)), {"f": "a", "j": "a"},
        "f:a j:a|f:a j:b|f:b j:b", same("f:b j:a"),
    ),
    "two pages stored, one msync": Litmus(
        (("store", "f", 0, "bc", 0), ("fdatasync", "f"), ("say",)), {"f": "aa"}, "f:aa|f:bc", same("f:ac|f:ba"),
    ),
    "half of a page stored": Litmus(
        (("store", "f", 0, "bc", 0),), {"f": "aa"}, "f:aa|f:bc", {"ext4": "f:ac|f:ba", "btrfs": ""}, 2048, 2048,
    ),
    # Each page by itself may have been written back before an fsync that comes before both were seen.
    "two pages stored before another's fsync": Litmus(
        (("pwrite", "j", 0, "b"), ("fsync", "j"), ("store", "f", 0, "bc", 0)), {"f": "aa", "j": "a"},
        "f:aa j:a|f:aa j:b|f:bc j:b", same("f:bc j:a|f:ac j:a|f:ba j:a|f:ac j:b|f:ba j:b"),
    ),
    # mm/msync.c: vfs_fsync_range(file, first, last, 1), which is fdatasync of that part (ext4_sync_file, xfs_file_fsync); btrfs_sync_file:
    # "Always set the range to a full range".
    "two pages stored, one of them synced": Litmus(
        (("store", "f", 0, "bc", 0), ("msync", "f", 1, 1), ("say",)), {"f": "aa"}, "f:aa|f:bc", same("f:ac|f:ba"),
    ),
    "msync of a part of a file made longer": Litmus(
        (("create", "x"), ("truncate", "f", 3), ("store", "f", 1, "bc", 0), ("msync", "f", 1, 1), ("say",)), OLD,
        "f:a|f:a x:|f:a.. x:|f:abc x:",
        {
            "ext4": "f:ab. x:|f:a.c x:",
            "btrfs": "f:ab. x:|f:a.c x:|f:abc",
            "posix": "f:ab. x:|f:a.c x:|f:ab x:|f:a..|f:ab.|f:a.c|f:abc|f:ab",
        },
    ),
    "failed msync of one of two pages": Litmus(
        (("store", "f", 0, "bc", 0), ("failing_msync", "f", 0, 1), ("fdatasync", "f"), ("say",)), {"f": "aa"}, "f:aa|f:bc",
        same("f:ac|f:ba"),
    ),
    # What was seen of a page before cannot have been other than it was seen.
    "a page stored to twice": Litmus(
        (("store", "f", 0, "b", 0), ("fsync", "j"), ("pwrite", "j", 0, "b"), ("fsync", "j"), ("store", "f", 0, "c", 0)),
        {"f": "a", "j": "a"}, "f:a j:a|f:b j:a|f:b j:b|f:c j:b", same("f:a j:b|f:c j:a"),
    ),
    "a page written to before it is stored to": Litmus(
        (("pwrite", "j", 0, "b"), ("fsync", "j"), ("pwrite", "f", 0, "b"), ("store", "f", 0, "c", 0)), {"f": "a", "j": "a"},
        "f:a j:a|f:a j:b|f:b j:b|f:c j:b", same(""),
    ),
    # Three changes of directories, in their order or not.
    "creat, mkdir, unlink": Litmus(
        (("create", "x"), ("mkdir", "d"), ("unlink", "f")), OLD, "f:a|f:a x:|d/ f:a x:|d/ x:",
        {"ext4": "", "posix": "d/ f:a|x:|d/|-"},
    ),
}  # fmt: skip
AT_THE_END = {
    "replace by rename, file synced": {"kill": "f:b", "ext4": "f:a t:b|f:b", "posix": "f:a|f:a t:b|f:b"},
    "replace by rename, file and directory synced": {"kill": "f:b", "ext4": "f:b"},
    "create and fsync": {"kill": "f:a", "ext4": "f:a", "posix": "f:a|-"},
    "fsync of the directory alone": {"kill": "f:a", "ext4": "f:|f:.|f:a", "xfs": "f:|f:a", "btrfs": "f:|f:a", "posix": "f:|f:?|f:a"},
    "fsync of a file in a new directory": {
        "kill": "d/ d/f:a x:", "ext4": "d/ d/f:a x:", "btrfs": "d/ d/f:a|d/ d/f:a x:",
        "posix": "-|x:|d/|d/ x:|d/ d/f:a|d/ d/f:a x:",
    },
    "append, then fdatasync": {"kill": "f:ab x:", "ext4": "f:ab x:", "btrfs": "f:ab|f:ab x:", "posix": "f:ab|f:ab x:"},
    "fdatasync of an overwrite": {"kill": "f:b x:", "ext4": "f:b|f:b x:"},
    "fsync of an overwrite": {"kill": "f:b x:", "ext4": "f:b x:", "btrfs": "f:b|f:b x:", "posix": "f:b|f:b x:"},
    "O_DSYNC write": {"kill": "f:bc x:", "ext4": "f:bc|f:bc x:"},
    "sync_file_range": {"kill": "f:ab", "ext4": "f:a|f:a.|f:ab", "xfs": "f:a|f:ab", "btrfs": "f:a|f:ab", "posix": "f:a|f:a?|f:ab"},
    "two files in order, synced between": {"kill": "f:b g:b", "ext4": "f:b g:a|f:b g:b"},
    "store, then the journal": {"kill": "f:b j:b", "ext4": "f:b j:b"},
    "store before the journal is synced": {"kill": "f:b j:b", "ext4": "f:b j:b"},
    "store after the journal is synced": {"kill": "f:b j:b", "ext4": "f:b j:b"},
    "store found after another's fsync": {"kill": "f:b j:b", "ext4": "f:b j:b"},
    "two pages stored, one of them synced": {"kill": "f:bc", "ext4": "f:ac|f:bc", "btrfs": "f:bc"},
    "msync of a part of a file made longer": {
        "kill": "f:abc x:", "ext4": "f:ab. x:|f:abc x:", "btrfs": "f:abc|f:abc x:", "posix": "f:ab.|f:abc|f:ab. x:|f:abc x:",
    },
    "failed msync of one of two pages": {"kill": "f:bc", "ext4": "f:ac|f:bc", "btrfs": "f:aa|f:ac|f:ba|f:bc"},
    "two pages stored, one msync": {"kill": "f:bc", "ext4": "f:bc"},
    "failed fsync": {"kill": "f:b", "ext4": "f:a|f:b"},
    "write again after a failed fsync": {"kill": "f:c", "ext4": "f:c"},
}  # fmt: skip
"""What can be left when all is done: which of it was promised."""


def at_the_end(name: str, profile: str) -> set[str]:
    """Returns what a crash at the end can leave; as ext4 where nothing else is said."""
    table = AT_THE_END[name]
    return outcomes(table.get(profile, table["ext4"]))
