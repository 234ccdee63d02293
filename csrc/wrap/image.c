/* What an executable file is: which dynamic loader it asks for, and whether a sanitizer's runtime must come first. From any
 * context; opens the file and closes it again. */
#include "image.h"
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "../clock.h"
#include "../sys.h"
#include "wrap.h"

#define MOST_SEGMENTS 16
#define MOST_ENTRIES 64
#define SCRIPT_DEPTH 4
#define BEGINNING 2048 /* holds a script's first line, or headers, segments and the loader's name */

struct file {
    long fd;
    long n;
    int segments;
    char beginning[BEGINNING];
    Elf64_Phdr segment[MOST_SEGMENTS];
};

static int open_file(struct file *file, const char *path)
{
    file->segments = 0;
    file->fd = fl_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (file->fd < 0)
        return 0;
    file->n = fl_sys(SYS_pread64, file->fd, file->beginning, BEGINNING, 0);
    return 1;
}

static int read_at(const struct file *file, void *out, uint64_t bytes, uint64_t at)
{
    if (file->n >= 0 && at < (uint64_t)file->n && bytes <= (uint64_t)file->n - at) {
        memcpy(out, file->beginning + at, bytes);
        return 1;
    }
    return fl_sys(SYS_pread64, file->fd, out, bytes, at) == (long)bytes;
}

static const Elf64_Phdr *segment_of(const struct file *file, uint32_t type)
{
    for (int i = 0; i < file->segments; i++)
        if (file->segment[i].p_type == type)
            return &file->segment[i];
    return NULL;
}

/* Where in the file an address of the image lies. */
static uint64_t place_of(const struct file *file, uint64_t address)
{
    for (int i = 0; i < file->segments; i++) {
        const Elf64_Phdr *s = &file->segment[i];
        if (s->p_type == PT_LOAD && address >= s->p_vaddr && address - s->p_vaddr < s->p_filesz)
            return address - s->p_vaddr + s->p_offset;
    }
    return 0;
}

/* The bare name of a runtime that refuses to start behind another library. */
int fl_is_sanitizer(const char *name, unsigned long n)
{
    return n > 10 && (!memcmp(name, "libasan.so", 10) || !memcmp(name, "libtsan.so", 10));
}

/* The linker puts what is needed, and the table of names, among the first entries. */
static void find_first(const struct file *file, const Elf64_Phdr *dynamic, char *first, size_t room)
{
    Elf64_Dyn entries[MOST_ENTRIES];
    uint64_t bytes = dynamic->p_filesz < sizeof entries ? dynamic->p_filesz : sizeof entries, strings = 0;
    size_t n = read_at(file, entries, bytes, dynamic->p_offset) ? bytes / sizeof *entries : 0;
    for (size_t i = 0; i < n && !strings; i++)
        if (entries[i].d_tag == DT_STRTAB)
            strings = place_of(file, entries[i].d_un.d_ptr);
    for (size_t i = 0; i < n && strings && entries[i].d_tag == DT_NEEDED; i++) {
        first[0] = '\0';
        if (read_at(file, first, room - 1, strings + entries[i].d_un.d_val) && fl_is_sanitizer(first, strlen(first)))
            return;
        first[0] = '\0';
    }
}

static enum fl_loader loader_of(const struct file *file)
{
    const Elf64_Phdr *wanted = segment_of(file, PT_INTERP);
    char name[64] = "";
    if (!wanted)
        return FL_LOADER_NONE;
    read_at(file, name, wanted->p_filesz < sizeof name ? wanted->p_filesz : sizeof name - 1, wanted->p_offset);
    return strstr(name, "/ld-linux") ? FL_LOADER_GLIBC : FL_LOADER_OTHER;
}

static void look_at_elf(struct file *file, struct fl_image *image)
{
    Elf64_Ehdr head;
    if (!read_at(file, &head, sizeof head, 0) || memcmp(head.e_ident, ELFMAG, SELFMAG))
        return;
    if (head.e_ident[EI_CLASS] != ELFCLASS64) {
        image->loader = FL_LOADER_OTHER;
        return;
    }
    file->segments = head.e_phnum < MOST_SEGMENTS ? head.e_phnum : MOST_SEGMENTS;
    if (!read_at(file, file->segment, (uint64_t)file->segments * sizeof *file->segment, head.e_phoff))
        return;
    image->loader = loader_of(file);
    const Elf64_Phdr *dynamic = segment_of(file, PT_DYNAMIC);
    if (dynamic && image->loader == FL_LOADER_GLIBC)
        find_first(file, dynamic, image->first, sizeof image->first);
}

/* Puts a script's interpreter into `name`; 0 if it is none. */
static int interpreter_of(const struct file *file, char *name, long room)
{
    long n = file->n < room - 1 ? file->n : room - 1;
    if (n > 0)
        memcpy(name, file->beginning, (size_t)n);
    if (n < 3 || name[0] != '#' || name[1] != '!')
        return 0;
    name[n] = '\0';
    size_t from = 2 + strspn(name + 2, " \t"), length = strcspn(name + from, " \t\n");
    for (size_t i = 0; i < length; i++)
        name[i] = name[from + i];
    name[length] = '\0';
    return 1;
}

/* What was looked at last, and in which state it was: whoever starts the same program again and again has it read once. Whoever
 * finds somebody at it does without. */
struct known { uint64_t device, inode, size; int64_t changed_s, changed_ns; struct fl_image image; };
static struct known last FL_EARLY;
static uint32_t turn FL_EARLY;

static int identify(const char *path, struct known *file)
{
    struct stat st;
    if (fl_sys(FL_SYS_FSTATAT, AT_FDCWD, path, &st, 0) || !S_ISREG(st.st_mode))
        return 0;
    *file = (struct known){st.st_dev, st.st_ino, (uint64_t)st.st_size, st.st_ctim.tv_sec, st.st_ctim.tv_nsec, {0}};
    return 1;
}

static int same(const struct known *one, const struct known *other)
{
    return one->inode == other->inode && one->device == other->device && one->size == other->size &&
           one->changed_s == other->changed_s && one->changed_ns == other->changed_ns;
}

static int recall(const struct known *file, struct fl_image *image)
{
    uint32_t before = __atomic_load_n(&turn, __ATOMIC_ACQUIRE);
    struct known known = last;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (before & 1 || __atomic_load_n(&turn, __ATOMIC_RELAXED) != before || !same(&known, file))
        return 0;
    *image = known.image;
    return 1;
}

/* A file that was changed just now may be changed once more in the same tick of its clock. */
static void remember(const struct known *file, const struct fl_image *image)
{
    struct timespec now = {0, 0};
    uint32_t before = __atomic_load_n(&turn, __ATOMIC_RELAXED);
    if (!fl_vdso_gettime || fl_vdso_gettime(CLOCK_REALTIME, &now) || now.tv_sec - file->changed_s < 2 || before & 1 ||
        !__atomic_compare_exchange_n(&turn, &before, before + 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    last = *file;
    last.image = *image;
    __atomic_store_n(&turn, before + 2, __ATOMIC_RELEASE);
}

/* Returns whether the image is that of this file alone. */
static int read_image(const char *path, struct fl_image *image)
{
    char name[256];
    *image = (struct fl_image){.loader = FL_LOADER_GLIBC};
    for (int depth = 0; depth < SCRIPT_DEPTH; depth++) {
        struct file file; /* not cleared: it is large */
        if (!open_file(&file, path))
            return 0;
        int script = interpreter_of(&file, name, sizeof name);
        if (!script)
            look_at_elf(&file, image);
        fl_sys1(SYS_close, file.fd);
        if (!script)
            return !depth;
        path = name;
    }
    return 0;
}

void fl_look_at_image(const char *path, struct fl_image *image)
{
    struct known file, after;
    int known = identify(path, &file);
    if (known && recall(&file, image))
        return;
    if (read_image(path, image) && known && identify(path, &after) && same(&file, &after)) /* not exchanged while it was read */
        remember(&file, image);
}
