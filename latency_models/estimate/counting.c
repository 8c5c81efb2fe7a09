/* QEMU user-mode plugin: how often each translated block runs within each kernel, after which block it ran, and how many
 * cache lines the kernel's accesses miss in caches of given sizes.
 *
 * Arguments: out=FILE, boundary=HEX (address of the function that the harness calls before each kernel),
 * caches=BYTES:BYTES:... (innermost first; 64-byte lines, 8 ways, least recently used out; each level is looked up when
 * the one before misses). Every kernel starts with empty caches.
 *
 * Output, one line each:
 *   kernel INDEX
 *   block PC SIZES COUNT PREDECESSOR:COUNT ...      (hexadecimal but for the counts; SIZES: a digit an instruction)
 *   fetch PC N_FIRST MISSES ...   (of the instruction at PC, where it has any; PC hexadecimal; N_FIRST: of lines that the
 *                                  kernel had not touched before)
 *   memory N_ACCESSES N_LINES MISSES ...                             (N_LINES: different lines touched)
 *
 * The few declarations of qemu-plugin.h that are needed are repeated here, as distributions do not install that file.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0, READS_AND_WRITES = 3 };
typedef void (*translated_t)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*executed_t)(unsigned int, void *);
typedef void (*accessed_t)(unsigned int, qemu_plugin_meminfo_t, uint64_t, void *);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, translated_t);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, executed_t, int, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, accessed_t, int, int, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);

#ifndef PLUGIN_VERSION
#define PLUGIN_VERSION 1
#endif
__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_VERSION;

enum { LINE_SHIFT = 6, N_WAYS = 8, N_PREDECESSORS = 6, N_LEVELS = 4 };

typedef struct block {
  uint64_t pc, n_instructions, count;
  char *sizes; /* bytes of each instruction, a hexadecimal digit each */
  struct block *next;
  struct block *predecessor[N_PREDECESSORS];
  uint64_t followed[N_PREDECESSORS];
} block_t;

typedef struct instruction {
  uint64_t pc, n_first, n_misses[N_LEVELS];
  struct instruction *next;
} instruction_t;

typedef struct {
  uint64_t n_sets, n_misses;
  uint64_t *lines; /* n_sets x N_WAYS, most recent first; line + 1, 0 where empty */
} cache_t;

static block_t *blocks, *previous;
static instruction_t *instructions[1 << 12];
static cache_t caches[N_LEVELS];
static int n_levels;
static uint64_t boundary, n_accesses, n_lines, last_line;
static uint64_t *seen, seen_capacity = 1 << 16; /* open addressing; line + 1 */
static long kernel = -1;
static FILE *out;

static void forget(void) {
  for (size_t i = 0; i < sizeof instructions / sizeof *instructions; i++)
    for (instruction_t *each = instructions[i]; each; each = each->next)
      memset(&each->n_first, 0, sizeof each->n_first + sizeof each->n_misses);
  for (block_t *b = blocks; b; b = b->next) {
    b->count = 0;
    memset(b->predecessor, 0, sizeof b->predecessor);
    memset(b->followed, 0, sizeof b->followed);
  }
  for (int i = 0; i < n_levels; i++) {
    memset(caches[i].lines, 0, caches[i].n_sets * N_WAYS * sizeof(uint64_t));
    caches[i].n_misses = 0;
  }
  memset(seen, 0, seen_capacity * sizeof(uint64_t));
  n_accesses = n_lines = last_line = 0;
  previous = NULL;
}

static void report(void) {
  if (kernel < 0)
    return;
  fprintf(out, "kernel %ld\n", kernel);
  for (block_t *b = blocks; b; b = b->next) {
    if (!b->count)
      continue;
    fprintf(out, "block %" PRIx64 " %s %" PRIu64, b->pc, b->sizes, b->count);
    for (int i = 0; i < N_PREDECESSORS && b->predecessor[i]; i++)
      fprintf(out, " %" PRIx64 ":%" PRIu64, b->predecessor[i]->pc, b->followed[i]);
    fputc('\n', out);
  }
  for (size_t i = 0; i < sizeof instructions / sizeof *instructions; i++)
    for (instruction_t *each = instructions[i]; each; each = each->next)
      if (each->n_misses[0]) {
        fprintf(out, "fetch %" PRIx64 " %" PRIu64, each->pc, each->n_first);
        for (int level = 0; level < n_levels; level++)
          fprintf(out, " %" PRIu64, each->n_misses[level]);
        fputc('\n', out);
      }
  fprintf(out, "memory %" PRIu64 " %" PRIu64, n_accesses, n_lines);
  for (int i = 0; i < n_levels; i++)
    fprintf(out, " %" PRIu64, caches[i].n_misses);
  fputc('\n', out);
}

static bool add_seen(uint64_t *table, uint64_t capacity, uint64_t entry) {
  uint64_t at = (entry * UINT64_C(0x9E3779B97F4A7C15)) & (capacity - 1);
  for (; table[at]; at = (at + 1) & (capacity - 1))
    if (table[at] == entry)
      return false;
  table[at] = entry;
  return true;
}

static bool see(uint64_t entry) {
  if (2 * n_lines >= seen_capacity) {
    uint64_t *larger = calloc(2 * seen_capacity, sizeof(uint64_t));
    for (uint64_t i = 0; i < seen_capacity; i++)
      if (seen[i])
        add_seen(larger, 2 * seen_capacity, seen[i]);
    free(seen);
    seen = larger;
    seen_capacity *= 2;
  }
  bool first = add_seen(seen, seen_capacity, entry);
  n_lines += first;
  return first;
}

static bool hit(cache_t *cache, uint64_t entry) {
  uint64_t *set = cache->lines + (entry % cache->n_sets) * N_WAYS;
  int way = 0;
  while (way < N_WAYS - 1 && set[way] != entry)
    way++;
  bool found = set[way] == entry;
  memmove(set + 1, set, way * sizeof(uint64_t));
  set[0] = entry;
  cache->n_misses += !found;
  return found;
}

static void touch(uint64_t line, instruction_t *by) {
  last_line = line;
  for (int i = 0; i < n_levels && !hit(&caches[i], line + 1); i++) {
    by->n_misses[i]++;
    if (i == 0)
      by->n_first += see(line + 1);
  }
}

static void accessed(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *by) {
  uint64_t first = address >> LINE_SHIFT;
  uint64_t last = (address + (UINT64_C(1) << qemu_plugin_mem_size_shift(info)) - 1) >> LINE_SHIFT;
  n_accesses++;
  if (first != last_line)
    touch(first, by);
  if (last != first)
    touch(last, by);
}

static void executed(unsigned int cpu, void *data) {
  block_t *b = data;
  if (b->pc == boundary) {
    report();
    kernel++;
    forget();
    return;
  }
  b->count++;
  if (previous)
    for (int i = 0; i < N_PREDECESSORS; i++) {
      if (!b->predecessor[i])
        b->predecessor[i] = previous;
      if (b->predecessor[i] == previous) {
        b->followed[i]++;
        break;
      }
    }
  previous = b;
}

static instruction_t *instruction_at(uint64_t pc) {
  instruction_t **at = &instructions[(pc >> 2) % (sizeof instructions / sizeof *instructions)];
  while (*at && (*at)->pc != pc)
    at = &(*at)->next;
  if (!*at) {
    *at = calloc(1, sizeof **at);
    (*at)->pc = pc;
  }
  return *at;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  uint64_t pc = qemu_plugin_tb_vaddr(tb), n = qemu_plugin_tb_n_insns(tb);
  block_t *b = blocks;
  while (b && !(b->pc == pc && b->n_instructions == n))
    b = b->next;
  if (!b) {
    b = calloc(1, sizeof *b);
    b->pc = pc;
    b->n_instructions = n;
    b->sizes = calloc(n + 1, 1);
    for (size_t i = 0; i < n; i++) {
      struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(tb, i);
      uint64_t size = qemu_plugin_insn_size(instruction); /* too small where it lies on two pages (QEMU 7.2) */
      if (i + 1 < n)
        size = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i + 1)) - qemu_plugin_insn_vaddr(instruction);
      b->sizes[i] = "0123456789abcdef"[size & 15];
    }
    b->next = blocks;
    blocks = b;
  }
  qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, NO_REGISTERS, b);
  for (size_t i = 0; n_levels && i < n; i++) {
    struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(tb, i);
    qemu_plugin_register_vcpu_mem_cb(instruction, accessed, NO_REGISTERS, READS_AND_WRITES,
                                     instruction_at(qemu_plugin_insn_vaddr(instruction)));
  }
}

static void finished(qemu_plugin_id_t id, void *unused) {
  report();
  fclose(out);
}

static void add_cache(uint64_t size_bytes) {
  cache_t *cache = &caches[n_levels++];
  cache->n_sets = size_bytes >> LINE_SHIFT < N_WAYS ? 1 : (size_bytes >> LINE_SHIFT) / N_WAYS;
  cache->lines = calloc(cache->n_sets * N_WAYS, sizeof(uint64_t));
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc,
                                                               char **argv) {
  for (int i = 0; i < argc; i++) {
    if (!strncmp(argv[i], "out=", 4))
      out = fopen(argv[i] + 4, "w");
    if (!strncmp(argv[i], "boundary=", 9))
      boundary = strtoull(argv[i] + 9, NULL, 16);
    if (!strncmp(argv[i], "caches=", 7))
      for (char *at = argv[i] + 6; *at && n_levels < N_LEVELS;)
        add_cache(strtoull(at + 1, &at, 10));
  }
  seen = calloc(seen_capacity, sizeof(uint64_t));
  if (!out || !seen)
    return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, finished, NULL);
  return 0;
}
