-- The program removes the mark of an import when it replaces the grant. The trigger also removed it when dates were corrected after
-- the clock was set back, because that changes obtained_at too.
DROP TRIGGER grants_import_replaced;
