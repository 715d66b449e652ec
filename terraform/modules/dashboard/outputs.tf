output "dashboard_name" {
  description = "Name of the dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "alarm_arns" {
  description = "ARN of each alarm by the name of its rule in deploy/prometheus."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => alarm.arn }
}

output "differences" {
  description = "Alarms that cannot say quite what their rule says, with what is different."
  value       = local.differences
}
