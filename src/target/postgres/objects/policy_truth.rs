//! What a policy's condition comes to whatever the row is, as far as its text tells. What only the planner can fold
//! is asked of it by `policies`.

use sqlparser::ast::{BinaryOperator, Expr, Query, SelectItem, SetExpr, UnaryOperator, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// Whether the condition holds for every row or for none; NULL lets nothing through, as false does.
pub fn constant(expression: &str, not_null: &[String]) -> Option<bool> {
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(expression).ok()?;
    let parsed = parser.parse_expr().ok()?;
    Some(truth(&parsed, not_null)? == Some(true))
}

/// `Some(None)` is NULL, `None` depends on more than the text.
fn truth(expression: &Expr, not_null: &[String]) -> Option<Option<bool>> {
    let of = |inner: &Expr| truth(inner, not_null);
    match expression {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => of(inner),
        Expr::Value(value) => match value.value {
            Value::Boolean(known) => Some(Some(known)),
            Value::Null => Some(None),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => of(expr).map(|known| known.map(|known| !known)),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => match (of(left), of(right)) {
            (Some(Some(false)), _) | (_, Some(Some(false))) => Some(Some(false)),
            (Some(Some(true)), other) | (other, Some(Some(true))) => other,
            (Some(None), Some(None)) => Some(None),
            _ => None,
        },
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => match (of(left), of(right)) {
            (Some(Some(true)), _) | (_, Some(Some(true))) => Some(Some(true)),
            (Some(Some(false)), other) | (other, Some(Some(false))) => other,
            (Some(None), Some(None)) => Some(None),
            _ => None,
        },
        Expr::BinaryOp { left, op, right } => {
            let same = column(left).is_some_and(|name| {
                column(right).is_some_and(|other| other == name) && not_null.iter().any(|known| known == name)
            });
            match op {
                BinaryOperator::Eq | BinaryOperator::LtEq | BinaryOperator::GtEq if same => Some(Some(true)),
                BinaryOperator::NotEq | BinaryOperator::Lt | BinaryOperator::Gt if same => Some(Some(false)),
                _ => None,
            }
        }
        Expr::IsNotNull(inner) => present(inner, not_null).map(Some),
        Expr::IsNull(inner) => present(inner, not_null).map(|known| Some(!known)),
        Expr::IsTrue(inner) => of(inner).map(|known| Some(known == Some(true))),
        Expr::Subquery(query) => of(only_value(query)?),
        _ => None,
    }
}

/// Whether a value is never NULL, where that can be told.
fn present(expression: &Expr, not_null: &[String]) -> Option<bool> {
    match (column(expression), truth(expression, not_null)) {
        (Some(name), _) => not_null.iter().any(|known| known == name).then_some(true),
        (None, known) => known.map(|known| known.is_some()),
    }
}

/// The value of `(SELECT value)`, as is advised for functions that should be called once.
fn only_value(query: &Query) -> Option<&Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }]
            if select.from.is_empty() && select.selection.is_none() =>
        {
            Some(value)
        }
        _ => None,
    }
}

fn column(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Identifier(name) => Some(&name.value),
        Expr::Nested(inner) => column(inner),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_that_decides_nothing_is_seen() {
        let not_null = ["id".to_owned(), "owner name".to_owned()];
        for (expression, expected) in [
            ("true", Some(true)),
            ("(false)", Some(false)),
            ("NULL::boolean", Some(false)),
            ("(id = id)", Some(true)),
            ("(\"owner name\" <> \"owner name\")", Some(false)),
            ("(id IS NOT NULL)", Some(true)),
            ("(id IS NULL)", Some(false)),
            ("(NOT (id IS NULL))", Some(true)),
            ("((id IS NOT NULL) OR (id = auth.uid()))", Some(true)),
            ("((id = auth.uid()) AND (1 = 2) AND false)", Some(false)),
            ("((id = auth.uid()) AND (id IS NOT NULL))", None),
            ("(owner = owner)", None),
            ("(owner IS NOT NULL)", None),
            ("(id = auth.uid())", None),
            ("( SELECT true AS bool)", Some(true)),
            ("( SELECT auth.uid() AS uid)", None),
            ("( SELECT true FROM things)", None),
        ] {
            assert_eq!(constant(expression, &not_null), expected, "{expression}");
        }
    }
}
