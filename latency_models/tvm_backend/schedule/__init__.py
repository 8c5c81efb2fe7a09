"""CPU schedules without tuning."""

from latency_models.tvm_backend.schedule.rule import schedule

__all__ = ["schedule"]
