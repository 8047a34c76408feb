"""What every service needs and is about no table: settings, logs, problem documents."""
