"""What is owed, and what was paid: customers, invoices and their lines, payments, and events about them."""

from services.billing.models.base import Base
from services.billing.models.customers import Customer
from services.billing.models.invoices import Invoice, InvoiceLine, InvoiceStatus
from services.billing.models.payments import Payment, PaymentStatus
from shared_models import OutboxMessage

__all__ = [
    "Base",
    "Customer",
    "Invoice",
    "InvoiceLine",
    "InvoiceStatus",
    "OutboxMessage",
    "Payment",
    "PaymentStatus",
]
