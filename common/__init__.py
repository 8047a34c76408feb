"""Code that every service needs and that concerns no table: settings, logs, problem documents."""
