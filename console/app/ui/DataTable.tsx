import type { ReactNode } from 'react';
import classes from './DataTable.module.css';

export interface Column<Row> {
  label: string;
  render: (row: Row) => ReactNode;
  /** Right-aligned figures. */
  numeric?: boolean;
  /** Names that may be long and have no place to break at: they leave the other columns their room. */
  breaks?: boolean;
}

interface Props<Row> {
  caption: string;
  columns: Column<Row>[];
  rows: Row[];
  rowKey: (row: Row) => string;
  dense?: boolean;
}

/** A table that becomes a list of cards where it would not fit. The first column heads each card. */
export function DataTable<Row>({ caption, columns, rows, rowKey, dense = false }: Props<Row>) {
  return (
    <div className={classes.frame} data-dense={dense ? true : undefined}>
      <table className={classes.table}>
        <caption className={dense ? classes.caption : 'm-hidden'}>{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.label} scope="col" data-numeric={column.numeric ? true : undefined}>
                {column.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)}>
              {columns.map((column) => (
                <td
                  key={column.label}
                  data-label={column.label}
                  data-numeric={column.numeric ? true : undefined}
                  data-breaks={column.breaks ? true : undefined}
                >
                  {column.render(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
