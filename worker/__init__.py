"""A serverless GPU worker for AUTOMATIC1111's Stable Diffusion WebUI."""

__version__ = "0.1.0"
