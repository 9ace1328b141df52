"""Operations: what keeps the house running and paid for."""
