/* A stand-in for libnvidia-ml.so.1, so that the real pynvml binding runs on machines without a GPU.
 *
 * It draws known power over real time, so tests know the true energy. GPU i draws (i + 1) times the waveform. Everything
 * is set by environment variables; tests/nvml/standin.py names them all. Signatures and structures follow the NVML API
 * reference as the pynvml module declares them. Never part of the product.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4,
       INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };
enum { FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186, VALUE_TYPE_UNSIGNED_INT = 1, MAX_GPUS = 16 };

typedef struct { int index; } Device;
typedef union { double d; unsigned ui; unsigned long ul; unsigned long long ull; long long sll; int si; unsigned short us; } Value;
typedef struct { uint32_t id, scope; int64_t timestamp, latency_us; uint32_t type, ret; Value value; } FieldValue;
typedef struct { char bus_legacy[16]; unsigned domain, bus_number, device, pci_device, pci_subsystem; char bus[32]; } PciInfo;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;

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

/* Energy in J drawn by GPU 0 from the start until s seconds later: the low level, then the high one, each for half of
 * a period; equal levels make it constant. Time before the start counts down. */
static double drawn_j(double s) {
    double low = number("STANDIN_NVML_LOW_W", 120), high = number("STANDIN_NVML_HIGH_W", low);
    double period = number("STANDIN_NVML_PERIOD_S", 2);
    double whole = (double)(long long)(s / period);
    if (s < 0) return low * s;
    double rest = s - whole * period, half = period / 2;
    return whole * half * (low + high) + (rest < half ? low * rest : low * half + high * (rest - half));
}
static double at_s(void) { return (now_ns() - started_ns) / 1e9; }
static double mean_w(double from_s, double to_s) { return (drawn_j(to_s) - drawn_j(from_s)) / (to_s - from_s); }

/* Every call on a device passes here: lost boards and missing permission strike from the nth call on. */
static int trouble(Device *device) {
    long now = __atomic_add_fetch(&reads, 1, __ATOMIC_RELAXED);
    if (!opened) return UNINITIALIZED;
    if (!device) return INVALID_ARGUMENT;
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
    opened++;
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
int nvmlDeviceGetPciInfo_v3(Device *device, PciInfo *info) {
    ENTER("pci");
    memset(info, 0, sizeof *info);
    info->bus_number = (unsigned)device->index + 1;
    info->pci_device = (unsigned)strtoul(text("STANDIN_NVML_PCI_DEVICE", "0x233510DE"), NULL, 16);
    snprintf(info->bus, sizeof info->bus, "00000000:%02X:00.0", info->bus_number);
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(Device *device, Memory *memory) {
    ENTER("memory");
    memory->total = 1ULL << 36, memory->used = 1ULL << 30, memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(Device *device, unsigned long long *millijoules) {
    double step_s = number("STANDIN_NVML_STEP_MS", 100) / 1000, gain = number("STANDIN_NVML_COUNTER_GAIN", 1);
    double reset_s = number("STANDIN_NVML_RESET_S", 1e15), start_j = number("STANDIN_NVML_COUNTER_START_J", 1000);
    ENTER("energy");
    double s = (double)(long long)(at_s() / step_s) * step_s;
    double j = s < reset_s ? start_j + gain * drawn_j(s) : gain * (drawn_j(s) - drawn_j(reset_s));
    *millijoules = (unsigned long long)(1000 * j * (device->index + 1));
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(Device *device, unsigned *milliwatts) {
    ENTER("power");
    *milliwatts = (unsigned)(1000 * mean_w(at_s() - 1, at_s()) * (device->index + 1));
    return SUCCESS;
}
int nvmlDeviceGetFieldValues(Device *device, int count, FieldValue *fields) {
    ENTER("fields");
    for (int i = 0; i < count; i++) {
        int instant = fields[i].id == FIELD_POWER_INSTANT && !without("instant");
        int average = fields[i].id == FIELD_POWER_AVERAGE;
        double s = at_s();
        fields[i].ret = (instant || average) && fields[i].scope == 0 ? SUCCESS : NOT_SUPPORTED;
        if (fields[i].ret) continue;
        fields[i].type = VALUE_TYPE_UNSIGNED_INT;
        fields[i].timestamp = now_ns() / 1000;
        fields[i].value.ui = (unsigned)(1000 * mean_w(s - (instant ? 0.025 : 1), s) * (device->index + 1));
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
    return SUCCESS;
}
