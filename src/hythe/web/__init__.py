"""The pages: routes, templates and static files. They call the hub's services and decide nothing themselves."""
