"""All metrics of a server in one table. ``docs/monitoring.md`` repeats it.

Names follow Prometheus's conventions: base units, ``_total`` for counters. No label contains what users choose, such as
names of repositories and accounts: that would be private, and without a bound.
"""

from hythe.telemetry.instruments import CounterMetric, GaugeMetric, HistogramMetric

_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STATEMENT_SECONDS = (0.00001, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
_LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_BUILD_SECONDS = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)

BUILD_INFO = GaugeMetric("hythe_build_info", "The running version; always 1.", ("version", "python"), "largest")

HTTP_REQUESTS = CounterMetric(
    "hythe_http_requests_total", "Requests by route template and status.", ("method", "route", "status")
)
HTTP_SECONDS = HistogramMetric(
    "hythe_http_request_duration_seconds",
    "Seconds from a request's headers to the start of its response, without waits for the request's body.",
    _REQUEST_SECONDS,
    ("route", "status_class"),
)
HTTP_RECEIVED = CounterMetric("hythe_http_received_bytes_total", "Bytes of request bodies received.")
HTTP_SENT = CounterMetric("hythe_http_sent_bytes_total", "Bytes of response bodies sent.")
HTTP_RUNNING = GaugeMetric("hythe_http_requests_in_progress", "Requests whose response is not complete.")
HTTP_ABORTED = CounterMetric("hythe_http_aborted_total", "Responses that ended before they were complete.")

MANIFESTS_PULLED = CounterMetric("hythe_registry_pulls_total", "Manifests that were sent to clients.", ("kind",))
MANIFESTS_PUSHED = CounterMetric("hythe_registry_pushes_total", "Manifests that were pushed.", ("kind",))
BLOBS_PUSHED = CounterMetric("hythe_registry_blobs_pushed_total", "Blobs that were uploaded or mounted.")
CACHE_READS = CounterMetric("hythe_cache_reads_total", "Look-ups in read caches.", ("cache", "result"))

SIGN_IN_FAILURES = CounterMetric("hythe_sign_in_failures_total", "Sign-ins that failed.", ("method", "reason"))
TOKENS_ISSUED = CounterMetric("hythe_tokens_issued_total", "Access tokens issued by the token server.", ("kind",))

BUILDS_QUEUED = GaugeMetric("hythe_builds_queued", "Builds that wait for a worker.", (), "largest")
BUILDS_OLDEST_WAIT = GaugeMetric(
    "hythe_builds_oldest_wait_seconds", "How long the build waits that was queued first; 0: none.", (), "largest"
)
BUILDS_RUNNING = GaugeMetric("hythe_builds_running", "Builds that run.", (), "largest")
BUILDS_FINISHED = CounterMetric("hythe_builds_finished_total", "Builds that ended.", ("result",))
BUILD_SECONDS = HistogramMetric(
    "hythe_build_duration_seconds", "Seconds from the claim of a build to its end.", _BUILD_SECONDS, ("result",)
)
BUILD_WAIT_SECONDS = HistogramMetric(
    "hythe_build_wait_seconds", "Seconds from when a build was queued to its claim.", _BUILD_SECONDS
)
WORKERS = GaugeMetric("hythe_build_workers", "Connected build workers.", ("state",), "largest")

GARBAGE_RUNS = CounterMetric("hythe_garbage_collection_runs_total", "Garbage collections that ended.", ("result",))
GARBAGE_BYTES = CounterMetric("hythe_garbage_collection_freed_bytes_total", "Bytes that garbage collections deleted.")
STORAGE_BYTES = GaugeMetric("hythe_storage_bytes", "Bytes stored, each blob once.", ("kind",), "largest")
STORAGE_OBJECTS = GaugeMetric("hythe_storage_objects", "Stored objects.", ("kind",), "largest")
DISK_FREE = GaugeMetric("hythe_disk_free_bytes", "Free bytes on the disk of the data folder.", (), "largest")
DISK_SIZE = GaugeMetric("hythe_disk_size_bytes", "Size of the disk of the data folder.", (), "largest")
UPLOADS_OPEN = GaugeMetric("hythe_uploads_unfinished", "Uploads that were begun and have not ended.", (), "largest")

DATABASE_SECONDS = HistogramMetric(
    "hythe_database_statement_duration_seconds", "Seconds that statements took.", _STATEMENT_SECONDS
)
DATABASE_FAILURES = CounterMetric("hythe_database_check_failures_total", "Checks that failed: it did not respond.")
POOL_SIZE = GaugeMetric("hythe_database_pool_connections_max", "Connections that the pool may open.")
POOL_USED = GaugeMetric("hythe_database_pool_connections_in_use", "Connections of the pool that are in use.")
POOL_WAITING = GaugeMetric("hythe_database_pool_waiting", "Requests that wait for a connection of the pool.")

LOOP_LAG = HistogramMetric(
    "hythe_event_loop_lag_seconds", "How late a timer was: how long requests had to wait.", _LAG_SECONDS
)
TASK_FAILURES = CounterMetric("hythe_background_task_failures_total", "Failures of periodic tasks.", ("task",))
WEBHOOKS_WAITING = GaugeMetric("hythe_webhooks_waiting", "Webhook deliveries that wait.", (), "largest")
MAIL_WAITING = GaugeMetric("hythe_mail_waiting", "E-mails that wait.", (), "largest")
REPLICATION_BEHIND = GaugeMetric(
    "hythe_replication_behind", "Tags and repositories that replication has still to copy.", (), "largest"
)
REPLICATION_LAG = GaugeMetric(
    "hythe_replication_lag_seconds", "How long the oldest of them waits; 0: nothing is behind.", (), "largest"
)
READY = GaugeMetric("hythe_ready", "Whether each check of /readyz succeeds: 1 or 0.", ("check",), "own")

PROCESS_CPU = CounterMetric("process_cpu_seconds_total", "User and system CPU seconds of all processes.")
PROCESS_MEMORY = GaugeMetric("process_resident_memory_bytes", "Resident memory of all processes.")
PROCESS_FILES = GaugeMetric("process_open_fds", "Open file descriptors of all processes.")
PROCESS_MAX_FILES = GaugeMetric("process_max_fds", "Limit of open file descriptors of one process.", (), "largest")
PROCESS_START = GaugeMetric("process_start_time_seconds", "Unix time of the newest process's start.", (), "largest")
PROCESSES = GaugeMetric("hythe_server_processes", "Processes that serve requests.")
