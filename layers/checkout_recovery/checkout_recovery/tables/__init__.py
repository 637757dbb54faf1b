"""DynamoDB: one module a table. Each turns the driver's errors into the package's own."""
