from sqlmodel import Field, SQLModel

__all__ = ["Product"]


class ProductBase(SQLModel):
    name: str = Field(max_length=50, index=True)


class Product(ProductBase, table=True):
    __tablename__ = "products"
    id: int | None = Field(default=None, primary_key=True)
    remark: str | None = Field(default=None, max_length=50)
