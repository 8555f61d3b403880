/* A stand-in for libnvidia-ml.so.1, so that the real pynvml binding runs on machines without a GPU.
 *
 * It draws known power over real time, so tests know the true energy. GPU i draws (i + 1) times the waveform. Everything
 * is set by environment variables; tests/nvml/standin.py names them all. Signatures and structures follow the NVML API
 * reference as the pynvml module declares them. Never part of the product.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4,
       NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
enum { FIELD_ENERGY = 83, FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186, MAX_GPUS = 16 };
enum { VALUE_TYPE_UNSIGNED_INT = 1, VALUE_TYPE_UNSIGNED_LONG_LONG = 3 };
enum { SCOPE_GPU = 0, SCOPE_MODULE = 1, SCOPE_MEMORY = 2 };

typedef struct { int index, is_mig; } Device;
typedef union { double d; unsigned ui; unsigned long ul; unsigned long long ull; long long sll; int si; unsigned short us; } Value;
typedef struct { uint32_t id, scope; int64_t timestamp, latency_us; uint32_t type, ret; Value value; } FieldValue;
typedef struct { char bus_legacy[16]; unsigned domain, bus_number, device, pci_device, pci_subsystem; char bus[32]; } PciInfo;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;

static Device devices[MAX_GPUS], instances[MAX_GPUS]; /* boards, and the one MIG instance of each */
static int opened;
static int64_t started_ns;
static double opened_s; /* when nvmlInit last found NVML closed */
static long reads;

/* An environment variable; looked up once per thread, for getenv is slow beside what a read may cost. */
static const char *text(const char *name, const char *otherwise) {
    static __thread struct { const char *name, *value; } seen[64];
    int i = 0;
    while (i < 63 && seen[i].name && seen[i].name != name) i++;
    if (seen[i].name != name) seen[i].name = name, seen[i].value = getenv(name);
    return seen[i].value && *seen[i].value ? seen[i].value : otherwise;
}
/* The same as a number. Looked up and parsed once at each place that asks, or this would cost more than it stands for;
 * the first two threads to come may both do it. */
static double parsed(const char *name) {
    const char *value = getenv(name);
    return value && *value ? atof(value) : NAN;
}
#define number(name, otherwise)                         \
    __extension__({                                     \
        static volatile int is_known;                   \
        static double value;                            \
        if (!is_known) value = parsed(name), is_known = 1; \
        isnan(value) ? (double)(otherwise) : value;     \
    })
static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t); /* the clock of Python's time.monotonic_ns */
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static int listed(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ',') && (p[n] == 0 || p[n] == ',')) return 1;
    return 0;
}
static int without(const char *what) { return listed(text("STANDIN_NVML_WITHOUT", ""), what); }

/* The same by a log of levels, lines of "CLOCK_MONOTONIC-ns W" in order of time, which a load appends to as it switches;
 * the low level before the first. */
static double logged_j(const char *path, double s) {
    double from_s = 0, w = number("STANDIN_NVML_LOW_W", 120), j = 0, level;
    long long t_ns;
    FILE *log = fopen(path, "r");
    if (s < 0) j = w * s, s = 0;
    while (log && fscanf(log, "%lld %lf", &t_ns, &level) == 2) {
        double at = (t_ns - started_ns) / 1e9;
        if (at >= s) break;
        if (at > from_s) j += w * (at - from_s), from_s = at;
        w = level;
    }
    if (log) fclose(log);
    return j + w * (s - from_s);
}

/* Energy in J drawn by GPU 0 from the start until s seconds later: the low level, then the high one, each for half of
 * a period; equal levels make it constant. Time before the start counts down. */
static double drawn_j(double s) {
    double low = number("STANDIN_NVML_LOW_W", 120), high = number("STANDIN_NVML_HIGH_W", low);
    double period = number("STANDIN_NVML_PERIOD_S", 2);
    const char *levels = text("STANDIN_NVML_LEVELS", "");
    if (*levels) return logged_j(levels, s);
    double whole = (double)(long long)(s / period);
    if (s < 0) return low * s;
    double rest = s - whole * period, half = period / 2;
    return whole * half * (low + high) + (rest < half ? low * rest : low * half + high * (rest - half));
}
static double at_s(void) { return (now_ns() - started_ns) / 1e9; }
static double mean_w(double from_s, double to_s) { return (drawn_j(to_s) - drawn_j(from_s)) / (to_s - from_s); }

/* A driver that is taken out for a while: nothing works meanwhile, and what was opened before never again. */
static double reload_s(void) { return number("STANDIN_NVML_RELOAD_S", 1e15); }
static double reloaded_s(void) { return reload_s() + number("STANDIN_NVML_RELOAD_FOR_S", 0.3); }
static int is_away(void) { return at_s() >= reload_s() && at_s() < reloaded_s(); }

/* Every call on a device passes here: lost boards and missing permission strike from the nth call on. */
static int trouble(Device *device) {
    long now = __atomic_add_fetch(&reads, 1, __ATOMIC_RELAXED);
    if (!opened) return UNINITIALIZED;
    if (is_away()) return DRIVER_NOT_LOADED;
    if (at_s() >= reloaded_s() && opened_s < reload_s()) return UNINITIALIZED;
    if (!device) return INVALID_ARGUMENT;
    if (device->is_mig) return NOT_SUPPORTED;
    if (device->index == (int)number("STANDIN_NVML_LOST_GPU", 0) && now > number("STANDIN_NVML_LOST_AFTER", 1e15))
        return GPU_IS_LOST;
    return now > number("STANDIN_NVML_DENIED_AFTER", 1e15) ? NO_PERMISSION : SUCCESS;
}
#define ENTER(what)                         \
    do {                                    \
        int found = trouble(device);        \
        if (found) return found;            \
        if (without(what)) return NOT_SUPPORTED; \
    } while (0)

static int put(char *out, unsigned size, const char *value) {
    return snprintf(out, size, "%s", value) < (int)size ? SUCCESS : INSUFFICIENT_SIZE;
}

int nvmlInitWithFlags(unsigned flags) {
    int fails = (int)number("STANDIN_NVML_INIT_FAILS", 0);
    (void)flags;
    if (fails) return fails;
    if (!started_ns) started_ns = (int64_t)number("STANDIN_NVML_START_NS", 0);
    if (!started_ns) started_ns = now_ns();
    if (is_away()) return DRIVER_NOT_LOADED;
    if (!opened++) opened_s = at_s();
    return SUCCESS;
}
int nvmlShutdown(void) {
    if (!opened) return UNINITIALIZED;
    opened--;
    return SUCCESS;
}
const char *nvmlErrorString(int code) {
    (void)code;
    return "stand-in error";
}
int nvmlSystemGetDriverVersion(char *out, unsigned size) { return put(out, size, "580.00.standin"); }
int nvmlSystemGetNVMLVersion(char *out, unsigned size) { return put(out, size, "13.580.00.standin"); }

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = (unsigned)number("STANDIN_NVML_GPUS", 1);
    return SUCCESS;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    if (index >= (unsigned)number("STANDIN_NVML_GPUS", 1) || index >= MAX_GPUS) return INVALID_ARGUMENT;
    devices[index].index = (int)index;
    *device = &devices[index];
    return SUCCESS;
}
int nvmlDeviceGetIndex(Device *device, unsigned *index) {
    *index = (unsigned)device->index;
    return SUCCESS;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Device **device) {
    unsigned index;
    int is_mig = sscanf(uuid, "MIG-%*8c-%*4c-%*4c-%*4c-%u", &index) == 1;
    if (!is_mig && sscanf(uuid, "GPU-00000000-0000-0000-0000-%u", &index) != 1) return NOT_FOUND;
    if (is_mig && !number("STANDIN_NVML_MIG", 0)) return NOT_FOUND;
    if (!is_mig) return nvmlDeviceGetHandleByIndex_v2(index, device);
    instances[index].index = (int)index, instances[index].is_mig = 1;
    *device = &instances[index];
    return SUCCESS;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *instance, Device **device) {
    return instance->is_mig ? nvmlDeviceGetHandleByIndex_v2((unsigned)instance->index, device) : INVALID_ARGUMENT;
}
int nvmlDeviceGetName(Device *device, char *out, unsigned size) {
    ENTER("name");
    return put(out, size, text("STANDIN_NVML_NAME", "Stand-in GPU"));
}
int nvmlDeviceGetUUID(Device *device, char *out, unsigned size) {
    char uuid[64];
    ENTER("uuid");
    snprintf(uuid, sizeof uuid, "GPU-00000000-0000-0000-0000-%012d", device->index);
    return put(out, size, uuid);
}
int nvmlDeviceGetVbiosVersion(Device *device, char *out, unsigned size) {
    ENTER("vbios");
    return put(out, size, "96.00.00.00.01");
}
int nvmlDeviceGetArchitecture(Device *device, unsigned *architecture) {
    ENTER("architecture");
    *architecture = (unsigned)number("STANDIN_NVML_ARCHITECTURE", 9); /* Hopper */
    return SUCCESS;
}
int nvmlDeviceGetCudaComputeCapability(Device *device, int *major, int *minor) {
    ENTER("capability");
    return sscanf(text("STANDIN_NVML_CAPABILITY", "9.0"), "%d.%d", major, minor) == 2 ? SUCCESS : INVALID_ARGUMENT;
}
int nvmlDeviceGetTemperatureThreshold(Device *device, unsigned threshold, unsigned *celsius) {
    ENTER("threshold");
    if (threshold > 8) return INVALID_ARGUMENT;
    *celsius = 90;
    return SUCCESS;
}
int nvmlDeviceGetPciInfo_v3(Device *device, PciInfo *info) {
    ENTER("pci");
    memset(info, 0, sizeof *info);
    info->bus_number = (unsigned)device->index + 1;
    info->pci_device = (unsigned)strtoul(text("STANDIN_NVML_PCI_DEVICE", "0x233510DE"), NULL, 16);
    info->domain = 0x7FFF; /* where no real device is */
    snprintf(info->bus, sizeof info->bus, "%08X:%02X:00.0", info->domain, info->bus_number);
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(Device *device, Memory *memory) {
    ENTER("memory");
    memory->total = 1ULL << 36, memory->used = 1ULL << 30, memory->free = memory->total - memory->used;
    return SUCCESS;
}

/* What the rest of a module (Grace, its memory) draws beside the GPU. */
static double rest_of_module_w(void) { return number("STANDIN_NVML_REST_OF_MODULE_W", 100); }

int nvmlDeviceGetTotalEnergyConsumption(Device *device, unsigned long long *millijoules) {
    double step_s = number("STANDIN_NVML_STEP_MS", 100) / 1000, gain = number("STANDIN_NVML_COUNTER_GAIN", 1);
    double reset_s = number("STANDIN_NVML_RESET_S", reload_s()), start_j = number("STANDIN_NVML_COUNTER_START_J", 1000);
    ENTER("energy");
    double s = (double)(long long)(at_s() / step_s) * step_s;
    double j = s < reset_s ? start_j + gain * drawn_j(s) : gain * (drawn_j(s) - drawn_j(reset_s));
    double rest_j = number("STANDIN_NVML_COUNTS_MODULE", 0) ? rest_of_module_w() * s : 0;
    *millijoules = (unsigned long long)(1000 * (j * (device->index + 1) + rest_j));
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(Device *device, unsigned *milliwatts) {
    ENTER("power");
    *milliwatts = (unsigned)(1000 * mean_w(at_s() - 1, at_s()) * (device->index + 1));
    return SUCCESS;
}
/* The instant power: as of now, or as of the last update, and over the window before. */
static double instant_w(void) {
    double update_s = number("STANDIN_NVML_UPDATE_MS", 0) / 1000, window_s = number("STANDIN_NVML_WINDOW_MS", 25) / 1000;
    double s = at_s();
    if (update_s > 0) s = (double)(long long)(s / update_s) * update_s;
    return mean_w(s - window_s, s);
}
int nvmlDeviceGetFieldValues(Device *device, int count, FieldValue *fields) {
    ENTER("fields");
    for (int i = 0; i < count; i++) {
        if (fields[i].id == FIELD_ENERGY) {
            fields[i].ret = without("energy_field") ? NOT_SUPPORTED : nvmlDeviceGetTotalEnergyConsumption(device, &fields[i].value.ull);
            fields[i].type = VALUE_TYPE_UNSIGNED_LONG_LONG;
            continue;
        }
        int instant = fields[i].id == FIELD_POWER_INSTANT && !without("instant");
        int average = fields[i].id == FIELD_POWER_AVERAGE && !without("average");
        int scope = (int)fields[i].scope;
        int known = scope == SCOPE_GPU || listed(text("STANDIN_NVML_SCOPES", ""), scope == SCOPE_MODULE ? "module" : "memory");
        if (scope == SCOPE_MEMORY) instant = 0; /* as on real boards */
        fields[i].ret = (instant || average) && known ? SUCCESS : NOT_SUPPORTED;
        if (fields[i].ret) continue;
        fields[i].type = VALUE_TYPE_UNSIGNED_INT;
        fields[i].timestamp = now_ns() / 1000;
        double w = instant ? instant_w() : mean_w(at_s() - 1, at_s());
        w *= device->index + 1;
        if (scope == SCOPE_MODULE) w += rest_of_module_w();
        if (scope == SCOPE_MEMORY) w *= number("STANDIN_NVML_MEMORY_SHARE", 0.1);
        fields[i].value.ui = (unsigned)(1000 * w);
    }
    return SUCCESS;
}
int nvmlDeviceGetTemperature(Device *device, unsigned sensor, unsigned *celsius) {
    ENTER("temperature");
    if (sensor != 0) return INVALID_ARGUMENT;
    *celsius = 55;
    return SUCCESS;
}
int nvmlDeviceGetClockInfo(Device *device, unsigned type, unsigned *mhz) {
    ENTER("clock");
    *mhz = type == 2 ? 2619 : 1755;
    return SUCCESS;
}
int nvmlDeviceGetMaxClockInfo(Device *device, unsigned type, unsigned *mhz) {
    ENTER("clock");
    *mhz = type == 2 ? 2619 : 1980;
    return SUCCESS;
}
int nvmlDeviceGetEnforcedPowerLimit(Device *device, unsigned *milliwatts) {
    ENTER("limit");
    *milliwatts = 700000;
    return SUCCESS;
}
int nvmlDeviceGetPowerManagementDefaultLimit(Device *device, unsigned *milliwatts) {
    ENTER("limit");
    *milliwatts = 700000;
    return SUCCESS;
}
int nvmlDeviceGetPowerManagementLimitConstraints(Device *device, unsigned *lowest, unsigned *highest) {
    ENTER("limit");
    *lowest = 200000, *highest = 700000;
    return SUCCESS;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, unsigned long long *mask) {
    ENTER("throttle");
    *mask = 4;
    return SUCCESS;
}
#ifndef BEFORE_535 /* an older driver has not this symbol at all */
int nvmlDeviceGetCurrentClocksEventReasons(Device *device, unsigned long long *mask) {
    return nvmlDeviceGetCurrentClocksThrottleReasons(device, mask);
}
#endif
int nvmlDeviceGetUtilizationRates(Device *device, Utilization *utilization) {
    ENTER("utilisation");
    utilization->gpu = 97, utilization->memory = 60;
    return SUCCESS;
}
int nvmlDeviceGetMigMode(Device *device, unsigned *current, unsigned *pending) {
    ENTER("mig");
    *current = *pending = (unsigned)number("STANDIN_NVML_MIG", 0);
    return SUCCESS;
}
int nvmlDeviceGetEccMode(Device *device, unsigned *current, unsigned *pending) {
    ENTER("ecc");
    *current = *pending = 1;
    return SUCCESS;
}
int nvmlDeviceGetPersistenceMode(Device *device, unsigned *mode) {
    ENTER("persistence");
    *mode = 1;
    return SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *count, Process *processes) {
    unsigned there = (unsigned)number("STANDIN_NVML_PROCESSES", 0), room = *count;
    ENTER("processes");
    *count = there;
    if (there > room) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < there && processes; i++) processes[i].pid = 1 + i;
    if (there && processes && number("STANDIN_NVML_OWN", 0)) processes[there - 1].pid = (unsigned)getpid();
    return SUCCESS;
}
/* The first of them computes, too: one process, listed twice. */
int nvmlDeviceGetGraphicsRunningProcesses_v3(Device *device, unsigned *count, Process *processes) {
    unsigned there = (unsigned)number("STANDIN_NVML_GRAPHICS", 0), room = *count;
    ENTER("graphics");
    *count = there;
    if (there > room) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < there && processes; i++) processes[i].pid = i ? 1000 + i : 1;
    return SUCCESS;
}
