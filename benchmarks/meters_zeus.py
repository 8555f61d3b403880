"""The peer's side, run by the peer's own Python: `python meters_zeus.py windows|cost`, what to do as JSON on stdin.

windows {"windows_s": [...], "gaps_s": [...], "period_s": s}: energy of GPU 0 over each window by ZeusMonitor (its
energy counter at both ends) and by PowerMonitor (its power readings, integrated); one JSON line each, instants by
CLOCK_MONOTONIC. cost {"period_s": s or null, "for_s": s}: processor time of PowerMonitor over all GPUs.
"""

import json
import sys
import time


def main():
    orders = json.loads(sys.stdin.readline())
    for answer in {"windows": windows, "cost": cost}[sys.argv[1]](**orders):
        print(json.dumps(answer), flush=True)


def windows(windows_s, gaps_s, period_s):
    from zeus.monitor import PowerMonitor, ZeusMonitor

    monitor, powers = ZeusMonitor(gpu_indices=[0], cpu_indices=[]), PowerMonitor([0], update_period=period_s)
    try:
        yield {"ready": True}
        time.sleep(2)  # some power readings before the first window
        for window_s, gap_s in zip(windows_s, gaps_s):
            time.sleep(gap_s)
            yield one_window(monitor, powers, window_s)
    finally:
        powers.stop()


def one_window(monitor, powers, window_s):
    """sync_execution waits for CUDA, which is not there: nothing is computed."""
    wall_start_s, before_ns = time.time(), time.monotonic_ns()
    monitor.begin_window("window", sync_execution=False)
    start_ns = (before_ns + time.monotonic_ns()) // 2
    time.sleep(window_s)
    before_ns, wall_end_s = time.monotonic_ns(), time.time()
    measured = monitor.end_window("window", sync_execution=False)
    end_ns = (before_ns + time.monotonic_ns()) // 2
    time.sleep(0.3)  # the last readings arrive
    integrated = powers.get_energy(wall_start_s, wall_end_s) or {}
    return {
        "window_s": window_s, "start_ns": start_ns, "end_ns": end_ns, "counter_j": measured.gpu_energy[0],
        "power_j": integrated.get(0, 0.0),
    }  # fmt: skip


def cost(period_s, for_s):
    from zeus.monitor import PowerMonitor

    powers = PowerMonitor(update_period=period_s)
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
