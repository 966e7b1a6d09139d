"""The Open Inference Protocol, version 2, over HTTP: the same path as `/v1`, in another encoding."""
