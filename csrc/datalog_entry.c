/* What the entries of the data log say. Whoever writes one has the log's lock. From any context. */
#include "datalog.h"
#include "journal.h"
#include "mapped.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

static struct fl_datalog *datalog(void) { return &fl_ctl->datalog; }

/* The names that the call was given, absolute; of a symbolic link what is in it, as given. */
static __attribute__((noinline)) struct fl_names names_of(const struct fl_frame *f)
{
    int is_symlink = f->op == FL_OP_SYMLINK || f->op == FL_OP_SYMLINKAT;
    const char *first = is_symlink ? (const char *)f->a[0] : fl_path_text(f->path), *second = fl_path_text(f->path2);
    struct fl_names names = {first ? first : "", second ? second : "", 0, 0};
    names.n = strlen(names.first) + 1;
    names.n2 = strlen(names.second) + 1;
    return names;
}

static long reopen(int fd)
{
    char link[32];
    fl_fd_link(link, fd);
    return fl_sys(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
}

static uint64_t cloned_bytes(const struct fl_frame *f)
{
    struct stat st;
    return fl_sys3(SYS_fstat, f->fd, &st, 0) ? 0 : (uint64_t)st.st_size;
}

/* What the kernel copied is read again: from the file that it came to, or, if that is a pipe or the like, from where it came. Returns how
 * much there is to read. */
static uint64_t open_copied(const struct fl_frame *f, const struct fl_fileid *file, uint64_t bytes, struct fl_source *source)
{
    if (f->op == FL_OP_FICLONE)
        bytes = cloned_bytes(f);
    source->position = file->status ? file->position : fl_fileid_copied_from(f, bytes);
    source->fd = bytes && (int64_t)source->position >= 0 ? (int)reopen(file->status ? f->fd : (int)f->a[f->info->source - 1]) : -1;
    if (source->fd >= 0)
        return bytes;
    __atomic_add_fetch(&datalog()->unread, bytes, __ATOMIC_RELAXED);
    return 0;
}

/* All of the event by hand: to clear it first would cost as much. */
static void describe(struct fl_log_entry *entry, struct fl_frame *f, long result)
{
    fl_describe_call(&entry->event, f, result);
    entry->event.sequence = entry->event.time_ns = entry->event.duration_ns = entry->event.nth = 0;
    entry->event.rule = 0;
    entry->event.effect = entry->event.reserved = 0;
}

/* Returns what it has written to a file. */
struct fl_run fl_datalog_write_down(struct fl_frame *f, const struct fl_before *before, long result)
{
    struct fl_log_entry entry;
    struct fl_names names;
    int is_on_one_file = f->fd >= 0 && !f->info->source; /* of which the event says all */
    if (!is_on_one_file)
        names = names_of(f);
    describe(&entry, f, result);
    entry.before = before->head;
    struct fl_fileid file = {0};
    if (f->info->family == FL_FAM_CLOSE)
        file = before->file;
    else if (f->op == FL_OP_MSYNC)
        file = fl_mapped_file((uintptr_t)f->a[0]);
    else if (result >= 0 || f->info->family == FL_FAM_FSYNC)
        file = fl_fileid_of(f, result, before);
    entry.device = file.device;
    entry.inode = file.inode;
    entry.position = file.position;
    if (f->info->family == FL_FAM_WRITE || f->info->family == FL_FAM_CLOSE)
        entry.event.nth = file.status;
    struct iovec own = {.iov_len = 0};
    struct fl_source source = {.at = &own, .fd = -1, .call = f, .file = &file};
    uint64_t bytes = f->info->family == FL_FAM_WRITE && result > 0 ? (uint64_t)result : 0;
    if (f->info->source)
        bytes = open_copied(f, &file, bytes, &source);
    else if (f->info->iov)
        source.at = (const struct iovec *)f->a[f->info->iov - 1];
    else if (f->info->buf && bytes)
        own = (struct iovec){(void *)f->a[f->info->buf - 1], bytes};
    fl_datalog_add(&entry, is_on_one_file ? NULL : &names, &source, bytes);
    if (source.fd >= 0)
        fl_sys1(SYS_close, source.fd);
    return (struct fl_run){file.device, file.inode, file.position, file.position + bytes};
}

void fl_datalog_write_capture(struct fl_proc *proc, uint32_t path, struct fl_fileid file, const void *data, uint64_t bytes, uint64_t since)
{
    long none[6] = {0};
    struct fl_frame f = {.op = FL_OP_MMAP, .a = none, .info = &fl_op_table[FL_OP_MMAP], .proc = proc, .fd = -1, .kind = FL_KIND_FILE, .path = path};
    struct fl_log_entry entry;
    struct fl_names names = names_of(&f);
    struct iovec own = {(void *)data, bytes};
    struct fl_source source = {.at = &own, .fd = -1};
    describe(&entry, &f, (long)bytes);
    entry.event.size = bytes;
    entry.before = since;
    entry.device = file.device;
    entry.inode = file.inode;
    entry.position = file.position;
    fl_datalog_add(&entry, &names, &source, bytes);
}
