"""What is for sale: products, the tree of categories they are found in, and the events about them."""

from services.catalog.models.categories import Category, product_categories
from services.catalog.models.products import Product, ProductStatus
from shared_models import Base, OutboxMessage

__all__ = ["Base", "Category", "OutboxMessage", "Product", "ProductStatus", "product_categories"]
