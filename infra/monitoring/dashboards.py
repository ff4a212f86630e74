"""What the dashboards show, as tables of panels; `grafana` writes them as its JSON.

python -m homeostat.infra.monitoring.grafana     writes `infra/base/monitoring/dashboards` anew
"""

from __future__ import annotations

from .panels import BY, OF, Dashboard, Panel, quantile, rate

LOOP = Dashboard(
    "homeostat-loop",
    "Homeostat / The loop",
    (
        Panel(
            "What each is busy with",
            {"{{detector}} {{phase}}": f"max by (detector, phase) (homeostat_detector_phase{{{OF}}}) == 1"},
            kind="state-timeline",
            width=24,
        ),
        Panel("Detectors", {"there are": "max(homeostat_detectors)"}, kind="stat", width=4),
        Panel(
            "Drifted", {"latched": "sum(max by (detector) (homeostat_drift_latched))"}, kind="stat", width=4
        ),
        Panel("Alerts", {"open": "sum(max by (detector) (homeostat_incidents))"}, kind="stat", width=4),
        Panel("Held", {"wait for approval": "sum(max by (detector) (homeostat_held))"}, kind="stat", width=4),
        Panel(
            "Canaries",
            {"on trial": "count(max by (detector) (homeostat_canary_percent)) or vector(0)"},
            kind="stat",
            width=4,
        ),
        Panel(
            "In training",
            {"runs": 'sum(max by (detector) (homeostat_detector_phase{phase="Training"}))'},
            kind="stat",
            width=4,
        ),
        Panel(
            "What is decided",
            {
                "{{function}} {{message}}": (
                    "sum by (function, message) (increase(homeostat_decisions_total[$__rate_interval]))"
                )
            },
        ),
        Panel(
            "Events by how they ended",
            {"{{function}} {{outcome}}": rate("homeostat_events_total", "function, outcome")},
            "ops",
        ),
        Panel(
            "How long functions take",
            {"{{function}} p99": quantile(0.99, "homeostat_event_seconds", "function")},
            "s",
        ),
        Panel(
            "Trainings that ended",
            {"{{outcome}}": "sum by (outcome) (increase(homeostat_run_seconds_count[1h]))"},
            width=6,
        ),
        Panel(
            "How long they took",
            {"{{outcome}} median": quantile(0.5, "homeostat_run_seconds", "outcome")},
            "s",
            width=6,
        ),
        Panel(
            "Rows that no run has seen", {"{{detector}}": f"max by (detector) (homeostat_new_rows{{{OF}}})"}
        ),
    ),
)

DETECTOR = Dashboard(
    "homeostat-detector",
    "Homeostat / A detector",
    (
        Panel(
            "What serves",
            {"{{detector}} {{revision}}": f"max {BY} (homeostat_serving_info{{{OF}}})"},
            kind="state-timeline",
        ),
        Panel(
            "Share of a canary",
            {
                "{{detector}}": f"max by (detector) (homeostat_canary_percent{{{OF}}})",
                "{{detector}} paused": f"max by (detector) (homeostat_canary_paused{{{OF}}})",
            },
            "percent",
        ),
        Panel(
            "Anomalies among rows",
            {
                "{{revision}}": f"homeostat:anomaly_rate:5m{{{OF}}}",
                "{{revision}} as usual": f"homeostat:anomaly_rate:baseline{{{OF}}}",
            },
            "percentunit",
        ),
        Panel(
            "Scores over threshold",
            {
                f"{{{{revision}}}} p{round(100 * q)}": quantile(
                    q, "homeostat_scores", "detector, revision", OF
                )
                for q in (0.5, 0.9, 0.99)
            },
            text="1 is the threshold.",
        ),
        Panel(
            "Drift",
            {
                "{{detector}} statistic": f"max by (detector) (homeostat_drift_statistic{{{OF}}})",
                "{{detector}} threshold": f"max by (detector) (homeostat_drift_threshold{{{OF}}})",
            },
        ),
        Panel(
            "Drifted, and not answered",
            {"{{detector}}": f"max by (detector) (homeostat_drift_latched{{{OF}}})"},
            kind="state-timeline",
        ),
        Panel(
            "What labels say",
            {
                "{{revision}} precision": f"homeostat:precision{{{OF}}}",
                "{{revision}} recall": f"homeostat:recall{{{OF}}}",
            },
            "percentunit",
        ),
        Panel(
            "False alarms a day",
            {"{{revision}}": f"max {BY} (homeostat_quality_false_alarms_per_day{{{OF}}})"},
        ),
        Panel(
            "Labelled rows",
            {
                "{{revision}} {{found}}": (
                    f"max by (detector, revision, found) (homeostat_quality_rows{{{OF}}})"
                )
            },
        ),
        Panel("Alerts that fire", {"{{detector}}": f"max by (detector) (homeostat_incidents{{{OF}}})"}),
    ),
)

SERVING = Dashboard(
    "homeostat-serving",
    "Homeostat / Serving",
    (
        Panel(
            "Requests",
            {"{{revision}} {{outcome}}": rate("homeostat_requests_total", "revision, outcome", OF)},
            "reqps",
        ),
        Panel("Errors among requests", {"{{revision}}": f"homeostat:error_ratio:10m{{{OF}}}"}, "percentunit"),
        Panel(
            "Time until answered",
            {
                "{{revision}} p50": quantile(0.5, "homeostat_request_seconds", "revision", OF),
                "{{revision}} p99": f"homeostat:request_seconds:p99{{{OF}}}",
            },
            "s",
        ),
        Panel(
            "Time to score",
            {"{{revision}} p99": quantile(0.99, "homeostat_predict_seconds", "revision", OF)},
            "s",
        ),
        Panel("Rows", {"{{revision}}": rate("homeostat_rows_total", "revision", OF)}, "rowsps"),
        Panel(
            "Requests refused", {"{{revision}}": rate("homeostat_rejected_total", "revision", OF)}, "reqps"
        ),
        Panel(
            "Behind the router (one machine)",
            {"{{revision}} {{outcome}}": rate("homeostat_router_requests_total", "revision, outcome", OF)},
            "reqps",
        ),
        Panel(
            "Reached no revision (one machine)",
            {"{{status}}": rate("homeostat_router_refused_total", "status")},
            "reqps",
        ),
        Panel(
            "Containers started again",
            {"{{revision}}": f"sum by (revision) (changes(homeostat_start_time_seconds{{{OF}}}[1h]))"},
        ),
        Panel(
            "Rows of streams",
            {"{{detector}} {{fate}}": rate("homeostat_stream_rows_total", "detector, fate", OF)},
            "rowsps",
        ),
        Panel(
            "Models",
            {"": f"max by (detector, revision, algorithm, version) (homeostat_model_info{{{OF}}})"},
            kind="table",
            width=24,
        ),
    ),
)

BROKER = Dashboard(
    "homeostat-broker",
    "Homeostat / Broker and doors (one machine)",
    (
        Panel(
            "Events",
            {
                "accepted": "rate(homeostat_broker_accepted_total[$__rate_interval])",
                "twice": "rate(homeostat_broker_duplicates_total[$__rate_interval])",
            },
            "ops",
        ),
        Panel("Delivered", {"{{trigger}}": rate("homeostat_broker_delivered_total", "trigger")}, "ops"),
        Panel("Tried again", {"{{trigger}}": rate("homeostat_broker_retried_total", "trigger")}, "ops"),
        Panel(
            "Dead letters",
            {"{{trigger}}": "sum by (trigger) (increase(homeostat_broker_dead_total[$__rate_interval]))"},
        ),
        Panel("Behind", {"{{trigger}}": "max by (trigger) (homeostat_broker_lag)"}),
        Panel(
            "From acceptance to success",
            {"{{trigger}} p99": quantile(0.99, "homeostat_broker_delivery_seconds", "trigger")},
            "s",
        ),
        Panel("Came in at doors", {"{{door}}": rate("homeostat_gateway_accepted_total", "door")}, "ops"),
        Panel(
            "Belong to no Detector",
            {"{{door}}": "sum by (door) (increase(homeostat_gateway_unmatched_total[$__rate_interval]))"},
        ),
        Panel("Payloads logged", {"{{fate}}": rate("homeostat_payload_log_events_total", "fate")}, "ops"),
        Panel(
            "Records of Kafka",
            {"{{source}} {{outcome}}": rate("homeostat_kafka_source_records_total", "source, outcome")},
            "ops",
        ),
        Panel("Processor", {"{{job}}": "sum by (job) (rate(process_cpu_seconds_total[$__rate_interval]))"}),
        Panel("Memory", {"{{job}}": "sum by (job) (process_resident_memory_bytes)"}, "bytes"),
    ),
    by_detector=False,
)

DASHBOARDS = (LOOP, DETECTOR, SERVING, BROKER)
