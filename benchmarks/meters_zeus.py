"""The peer's side, run by the peer's own Python: `python meters_zeus.py windows|cost`, what to do as JSON on stdin.

windows {"spans_s": [[start, length], ...], "period_s": s}: energy of GPU 0 over each span (s from now on; they may
overlap) by ZeusMonitor (its energy counter at both ends) and by PowerMonitor (its power readings, integrated); one JSON
line each, instants by CLOCK_MONOTONIC. cost {"period_s": s or null, "for_s": s}: processor time of PowerMonitor over
all GPUs.
"""

import json
import sys
import time


def main():
    orders = json.loads(sys.stdin.readline())
    for answer in {"windows": windows, "cost": cost}[sys.argv[1]](**orders):
        print(json.dumps(answer), flush=True)


def windows(spans_s, period_s):
    from zeus.monitor import PowerMonitor, ZeusMonitor

    monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[])
    powers = started(PowerMonitor, gpu_indices=[0], update_period=period_s, power_domains=["device_instant"])
    try:
        yield {"ready": True}
        found = followed(monitor, spans_s)
        time.sleep(0.5)  # the last readings arrive
        for one in found:
            integrated = powers.get_energy(one.pop("start_wall_s"), one.pop("end_wall_s")) or {}
            yield one | {"power_j": integrated.get(0, 0.0)}
    finally:
        powers.stop()


def started(monitor, **options):
    """A PowerMonitor; on a busy machine its processes do not always import all they need within the 10 s they have."""
    for left in (2, 1, 0):
        try:
            return monitor(**options)
        except RuntimeError:
            if not left:
                raise


def followed(monitor, spans_s):
    """Begin and end every window when it is time; the windows in the order of `spans_s`."""
    turns = [(start_s, True, i) for i, (start_s, _) in enumerate(spans_s)]
    turns += [(start_s + length_s, False, i) for i, (start_s, length_s) in enumerate(spans_s)]
    found, began_s = [{} for _ in spans_s], time.monotonic()
    for at_s, is_start, i in sorted(turns):
        time.sleep(max(0.0, began_s + at_s - time.monotonic()))
        wall_s, before_ns = time.time(), time.monotonic_ns()
        if is_start:
            monitor.begin_window(str(i), sync_execution=False)  # True waits for CUDA, which is not there
        else:
            found[i]["counter_j"] = monitor.end_window(str(i), sync_execution=False).gpu_energy[0]
        name = "start" if is_start else "end"
        found[i] |= {f"{name}_wall_s": wall_s, f"{name}_ns": (before_ns + time.monotonic_ns()) // 2}
    return found


def cost(period_s, for_s):
    from zeus.monitor import PowerMonitor

    powers = started(PowerMonitor, update_period=period_s)
    try:
        pids = [process.pid for process in powers.processes.values()]
        time.sleep(1)
        before_s, began_s = cpu_s(pids), time.monotonic()
        time.sleep(for_s)
        used_s, took_s = cpu_s(pids) - before_s, time.monotonic() - began_s
        readings = sum(len(one) for one in powers.get_power_timeline("device_instant").values())
        yield {"cpu_s": used_s, "wall_s": took_s, "processes": len(pids), "period_s": powers.update_period,
               "readings": readings}  # fmt: skip
    finally:
        powers.stop()


def cpu_s(pids):
    """Processor time in s of these processes and of this one."""
    return sum(map(process_s, pids)) + time.process_time()


def process_s(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100  # user and system, in ticks of 10 ms (USER_HZ)


if __name__ == "__main__":  # PowerMonitor's processes import this file again
    main()
