//! `columns`: the columns that the product's code relies on are there, and those it gave up are gone.

use crate::domain::measure::{ColumnExpectation, TableName};
use crate::domain::measurement::Measured;
use crate::target::plan::columns::problems;

use super::super::catalog;
use super::{Ask, ObjectError};

pub async fn columns(
    ask: &mut Ask<'_>,
    expect: &[(TableName, Vec<(String, ColumnExpectation)>)],
) -> Result<Measured, ObjectError> {
    let tables: Vec<TableName> = expect.iter().map(|(table, _)| table.clone()).collect();
    let relations = catalog::load(ask.session, &tables).await?;
    Ok(Measured::of_problems(&problems(&relations, expect)))
}
