/* One function that one library imports, redirected for that library alone: its slot in the global offset table. For normal
 * context, with no other thread inside the function's first call. */
#include "shim.h"
#include "sys.h"
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

struct imports {
    const ElfW(Sym) *symbols;
    const char *strings;
    const ElfW(Rela) *late, *early; /* bound at the first call, or at once */
    size_t late_bytes, early_bytes;
};

static struct imports imports_of(const struct link_map *map)
{
    struct imports found = {0};
    for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) { /* glibc has relocated these pointers */
        switch (d->d_tag) {
        case DT_SYMTAB: found.symbols = (const ElfW(Sym) *)d->d_un.d_ptr; break;
        case DT_STRTAB: found.strings = (const char *)d->d_un.d_ptr; break;
        case DT_JMPREL: found.late = (const ElfW(Rela) *)d->d_un.d_ptr; break;
        case DT_PLTRELSZ: found.late_bytes = d->d_un.d_val; break;
        case DT_RELA: found.early = (const ElfW(Rela) *)d->d_un.d_ptr; break;
        case DT_RELASZ: found.early_bytes = d->d_un.d_val; break;
        }
    }
    return found;
}

static void **slot_in(const struct imports *in, const ElfW(Rela) *rows, size_t bytes, uintptr_t base, const char *name)
{
    for (size_t i = 0; rows && i < bytes / sizeof *rows; i++) {
        size_t symbol = ELF64_R_SYM(rows[i].r_info);
        if (symbol && !rows[i].r_addend && !strcmp(in->strings + in->symbols[symbol].st_name, name))
            return (void **)(base + rows[i].r_offset);
    }
    return NULL;
}

/* The part of the library's data that the loader made read-only once it was relocated. */
static int is_sealed(const struct link_map *map, uintptr_t address)
{
    const ElfW(Ehdr) *head = (const ElfW(Ehdr) *)map->l_addr;
    int is_program = map == _r_debug.r_map;
    const ElfW(Phdr) *part = (const ElfW(Phdr) *)(is_program ? getauxval(AT_PHDR) : map->l_addr + head->e_phoff);
    for (size_t n = is_program ? getauxval(AT_PHNUM) : head->e_phnum; n; n--, part++)
        if (part->p_type == PT_GNU_RELRO && address - map->l_addr - part->p_vaddr < part->p_memsz)
            return 1;
    return 0;
}

/* From now on the library's calls of `name` go to `to`. Returns where they went before, null if it has no such import or the
 * kernel refuses. `bind` calls the function once, in a way that does nothing, so that the loader has bound it. */
void *fl_redirect_import(const struct link_map *map, const char *name, void *to, void (*bind)(void *function))
{
    struct imports in = imports_of(map);
    if (!in.symbols || !in.strings)
        return NULL;
    void **slot = slot_in(&in, in.late, in.late_bytes, map->l_addr, name);
    if (!slot)
        slot = slot_in(&in, in.early, in.early_bytes, map->l_addr, name);
    if (!slot)
        return NULL;
    bind(*slot);
    void *before = *slot;
    uintptr_t page = (uintptr_t)slot & ~4095ul;
    int sealed = is_sealed(map, (uintptr_t)slot);
    if (sealed && fl_sys3(SYS_mprotect, page, 4096, PROT_READ | PROT_WRITE) < 0)
        return NULL;
    __atomic_store_n(slot, to, __ATOMIC_SEQ_CST);
    if (sealed)
        fl_sys3(SYS_mprotect, page, 4096, PROT_READ);
    return before;
}
