"""The routes of Trusted Builds: the JSON API, the live log, the badge, the trigger URL and the worker protocol."""
