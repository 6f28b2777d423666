"""Counters for Prometheus, in its text format (version 0.0.4)."""

import threading
from collections import Counter

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Requests by route, method and status, and a histogram of their seconds by route."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._seconds: Counter[str] = Counter()

    def note(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request."""
        with self._guard:
            self._requests[route, method, status] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]
            for bound in (*BOUNDS, float("inf")):
                self._buckets[route, bound] += seconds <= bound

    def text(self, documents: int, commit: int) -> str:
        """The page that Prometheus scrapes."""
        lines = [
            "# HELP attar_documents Documents in the store.",
            "# TYPE attar_documents gauge",
            f"attar_documents {documents}",
            "# HELP attar_commit Number of the commit that is served.",
            "# TYPE attar_commit counter",
            f"attar_commit {commit}",
            "# HELP attar_requests_total Requests answered.",
            "# TYPE attar_requests_total counter",
        ]
        with self._guard:
            for (route, method, status), count in sorted(self._requests.items()):
                labels = f'route="{route}",method="{method}",status="{status}"'
                lines.append(f"attar_requests_total{{{labels}}} {count}")
            lines += [
                "# HELP attar_request_seconds Time to answer.",
                "# TYPE attar_request_seconds histogram",
            ]
            for (route, bound), count in sorted(self._buckets.items()):
                edge = "+Inf" if bound == float("inf") else f"{bound:g}"
                lines.append(f'attar_request_seconds_bucket{{route="{route}",le="{edge}"}} {count}')
            for route, seconds in sorted(self._seconds.items()):
                total = self._buckets[route, float("inf")]
                lines.append(f'attar_request_seconds_sum{{route="{route}"}} {seconds:.6f}')
                lines.append(f'attar_request_seconds_count{{route="{route}"}} {total}')
        return "\n".join(lines) + "\n"
