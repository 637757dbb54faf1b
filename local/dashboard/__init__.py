"""The template's CloudWatch dashboard on this machine: read, checked, and drawn from a run's own metrics.

definition   what the dashboard and the alarms watch, from template.yaml
emitted      the metrics that functions wrote to their logs, and what a widget makes of them
trouble      a few minutes of deliveries with everything that can go wrong, on the local cloud
picture      docs/dashboard.png
"""
