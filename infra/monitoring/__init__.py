"""What watches the watcher: rules, dashboards, and what Prometheus, Alertmanager and Grafana read of them."""
