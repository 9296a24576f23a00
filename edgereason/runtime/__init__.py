"""An open model: requests in, answers out. The only place where engines and strategies meet."""
