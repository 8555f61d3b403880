/* A stand-in for libamd_smi.so, so that AMD's own Python binding runs on machines without a GPU.
 *
 * It draws known power over real time, so tests know the true energy. GPU i draws (i + 1) times the waveform. Everything
 * is set by environment variables; amdsmi_standin.py names them all. Signatures and structures follow amdsmi.h as the
 * amdsmi module of release 7.0.2 declares them. Never part of the product.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, INVAL = 1, NOT_SUPPORTED = 2, NO_PERM = 10, NOT_FOUND = 31, NOT_INIT = 32 };
enum { MAX_GPUS = 16, NA16 = 0xFFFF, STRING = 256 };

typedef struct { int index; } Device;
typedef struct { uint64_t socket, current_average, gfx_mv, soc_mv, mem_mv; uint32_t limit; uint64_t reserved[18]; } Power;
typedef struct { uint64_t cap, default_cap, dpm, min, max, reserved[3]; } Cap;
typedef struct { uint32_t gfx, umc, mm, reserved[13]; } Activity;
typedef struct { uint32_t clk, min, max; uint8_t locked, deep_sleep; uint32_t reserved[4]; } Clock;
typedef struct { char version[STRING], date[STRING], name[STRING]; } Driver;
typedef struct { char name[STRING], build_date[STRING], part_number[STRING], version[STRING]; uint64_t reserved[68]; } Vbios;
typedef struct { uint32_t major, minor, release; const char *build; } Version;
typedef struct {
    char market_name[STRING];
    uint32_t vendor_id;
    char vendor_name[STRING];
    uint32_t subvendor_id;
    uint64_t device_id;
    uint32_t rev_id;
    char serial[STRING];
    uint32_t oam_id, compute_units;
    uint64_t graphics_version;
    uint32_t subsystem_id, reserved[21];
} Asic;
typedef struct {
    char name[STRING];
    uint32_t pid;
    uint64_t mem, gfx, enc;
    uint32_t engine_reserved[12];
    uint64_t gtt, cpu, vram;
    uint32_t memory_reserved[10];
    char container[STRING];
    uint32_t occupancy, reserved[11];
} Process;

static Device devices[MAX_GPUS];
static int opened;
static int64_t started_ns;
static long reads;

static const char *text(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}
static double number(const char *name, double otherwise) {
    const char *value = getenv(name);
    return value && *value ? atof(value) : otherwise;
}
static int without(const char *what) {
    const char *list = text("STANDIN_AMD_WITHOUT", "");
    size_t n = strlen(what);
    for (const char *p = list; (p = strstr(p, what)); p += n)
        if ((p == list || p[-1] == ',') && (p[n] == 0 || p[n] == ',')) return 1;
    return 0;
}
static double at_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t); /* the clock of Python's time.monotonic_ns */
    return ((int64_t)t.tv_sec * 1000000000 + t.tv_nsec - started_ns) / 1e9;
}

/* Energy in J drawn by GPU 0 from the start until s seconds later: the low level, then the high one, each for half of
 * a period; equal levels make it constant. */
static double drawn_j(double s) {
    double low = number("STANDIN_AMD_LOW_W", 300), high = number("STANDIN_AMD_HIGH_W", low);
    double period = number("STANDIN_AMD_PERIOD_S", 2), whole = (double)(long long)(s / period), half = period / 2;
    double rest = s - whole * period;
    return whole * half * (low + high) + (rest < half ? low * rest : low * half + high * (rest - half));
}

/* The second die of a module tells nothing; the first draws for both. */
static int is_second_die(const Device *device) { return (int)number("STANDIN_AMD_DIES", 1) == 2 && device->index % 2; }
static double factor(const Device *device) {
    if (is_second_die(device)) return 0;
    return number("STANDIN_AMD_DIES", 1) == 2 ? 2 * device->index + 3 : device->index + 1;
}

/* Every call on a device passes here: lost boards and missing permission strike from the nth call on. */
static int trouble(const Device *device) {
    long now = __atomic_add_fetch(&reads, 1, __ATOMIC_RELAXED);
    if (!opened) return NOT_INIT;
    if (!device) return INVAL;
    if (device->index == (int)number("STANDIN_AMD_LOST_GPU", 0) && now > number("STANDIN_AMD_LOST_AFTER", 1e15))
        return NOT_FOUND;
    return now > number("STANDIN_AMD_DENIED_AFTER", 1e15) ? NO_PERM : SUCCESS;
}
#define ENTER(what)                              \
    do {                                         \
        int found = trouble(device);             \
        if (found) return found;                 \
        if (without(what)) return NOT_SUPPORTED; \
    } while (0)

int amdsmi_init(uint64_t flags) {
    int fails = (int)number("STANDIN_AMD_INIT_FAILS", 0);
    (void)flags;
    if (fails) return fails;
    if (!started_ns) started_ns = (int64_t)number("STANDIN_AMD_START_NS", 0);
    if (!started_ns) started_ns = (int64_t)(at_s() * 1e9);
    opened = 1;
    return SUCCESS;
}
int amdsmi_shut_down(void) {
    opened = 0; /* as the real one: it does not count who opened it */
    return SUCCESS;
}
int amdsmi_get_lib_version(Version *version) {
    version->major = 26, version->minor = 0, version->release = 2, version->build = "standin";
    return SUCCESS;
}
int amdsmi_get_socket_handles(uint32_t *count, void **handles) {
    uint32_t there = (uint32_t)number("STANDIN_AMD_GPUS", 1);
    if (!opened) return NOT_INIT;
    for (uint32_t i = 0; handles && i < there && i < *count; i++) devices[i].index = (int)i, handles[i] = &devices[i];
    *count = there;
    return SUCCESS;
}
int amdsmi_get_processor_handles(Device *socket, uint32_t *count, void **handles) {
    if (handles) handles[0] = socket; /* one GPU on each socket */
    *count = 1;
    return SUCCESS;
}
int amdsmi_get_gpu_asic_info(Device *device, Asic *info) {
    ENTER("asic");
    memset(info, 0, sizeof *info);
    snprintf(info->market_name, STRING, "%s", text("STANDIN_AMD_NAME", "Stand-in Instinct"));
    snprintf(info->vendor_name, STRING, "Advanced Micro Devices Inc. [AMD/ATI]");
    info->graphics_version = 0x942;
    return SUCCESS;
}
int amdsmi_get_gpu_device_uuid(Device *device, uint32_t *length, char *uuid) {
    ENTER("uuid");
    *length = (uint32_t)snprintf(uuid, *length, "00ff0000-0000-1000-8000-%012d", device->index);
    return SUCCESS;
}
int amdsmi_get_gpu_device_bdf(Device *device, uint64_t *bdf) {
    ENTER("bdf");
    *bdf = (uint64_t)(device->index + 1) << 8; /* bus number: bits 8 to 15 */
    return SUCCESS;
}
int amdsmi_get_energy_count(Device *device, uint64_t *count, float *step_uj, uint64_t *timestamp_ns) {
    ENTER("energy");
    double s = at_s(), step_s = number("STANDIN_AMD_STEP_MS", 1) / 1000, step = number("STANDIN_AMD_STEP_UJ", 15.259);
    if (step_s > 0) s = (double)(long long)(s / step_s) * step_s;
    double j = number("STANDIN_AMD_STUCK", 0) ? 0 : drawn_j(s) * number("STANDIN_AMD_COUNTER_GAIN", 1);
    double whole = number("STANDIN_AMD_COUNTER_START_J", 5000) + j;
    if (at_s() > number("STANDIN_AMD_JUMP_S", 1e15)) whole += number("STANDIN_AMD_JUMP_J", 1e6);
    *step_uj = (float)step;
    *count = (uint64_t)(whole * factor(device) / (double)*step_uj * 1e6);
    *timestamp_ns = (uint64_t)(at_s() * 1e9);
    return SUCCESS;
}
int amdsmi_get_power_info(Device *device, Power *info) {
    ENTER("power");
    double s = at_s();
    uint32_t now = (uint32_t)(factor(device) * (drawn_j(s) - drawn_j(s - 0.001)) / 0.001 + 0.5);
    uint32_t mean = (uint32_t)(factor(device) * (drawn_j(s) - drawn_j(s < 1 ? 0 : s - 1)) / (s < 1 ? s : 1) + 0.5);
    uint32_t both[2] = {without("current") ? NA16 : now, without("average") ? NA16 : mean};
    memset(info, 0, sizeof *info);
    memcpy(&info->current_average, both, sizeof both);
    info->socket = now, info->limit = 750;
    return SUCCESS;
}
int amdsmi_get_power_cap_info(Device *device, uint32_t sensor, Cap *info) {
    ENTER("cap");
    (void)sensor;
    memset(info, 0, sizeof *info);
    info->cap = info->default_cap = info->max = (uint64_t)number("STANDIN_AMD_CAP", 750e6);
    return SUCCESS;
}
int amdsmi_get_temp_metric(Device *device, uint32_t sensor, uint32_t metric, int64_t *celsius) {
    ENTER("temperature");
    (void)metric;
    if (sensor != 1) return NOT_SUPPORTED; /* the hot spot alone */
    *celsius = 61;
    return SUCCESS;
}
int amdsmi_get_clock_info(Device *device, uint32_t type, Clock *info) {
    ENTER("clock");
    memset(info, 0, sizeof *info);
    info->clk = type == 0 ? 2100 : 1300;
    return SUCCESS;
}
int amdsmi_get_gpu_activity(Device *device, Activity *info) {
    ENTER("activity");
    memset(info, 0, sizeof *info);
    info->gfx = number("STANDIN_AMD_ACTIVITY_NA", 0) ? NA16 : 93;
    return SUCCESS;
}
int amdsmi_get_gpu_driver_info(Device *device, Driver *info) {
    ENTER("driver");
    memset(info, 0, sizeof *info);
    snprintf(info->version, STRING, "6.14.standin");
    return SUCCESS;
}
int amdsmi_get_gpu_vbios_info(Device *device, Vbios *info) {
    ENTER("vbios");
    memset(info, 0, sizeof *info);
    snprintf(info->version, STRING, "022.040.003.standin");
    return SUCCESS;
}
int amdsmi_get_gpu_process_list(Device *device, uint32_t *count, Process *processes) {
    uint32_t there = (uint32_t)number("STANDIN_AMD_PROCESSES", 0);
    ENTER("processes");
    for (uint32_t i = 0; i < there && i < *count; i++) memset(&processes[i], 0, sizeof *processes), processes[i].pid = 1 + i;
    *count = there;
    return SUCCESS;
}
#include "others.h" /* every other function that the binding looks for on import: not supported */
