"""OCR engines, one module or package each, behind the interface of `engines.interface`."""
