import { Checkbox } from '@mantine/core';
import { columns, permissions } from '../api/permissions';
import classes from './PermissionGrid.module.css';

interface Props {
  held: string[];
  /** Nobody gives away what they lack; the server says no, too. */
  mayGive: (permission: string) => boolean;
  onChange: (held: string[]) => void;
}

/** Every permission there is: a row for each resource, a column for each action. */
export function PermissionGrid({ held, mayGive, onChange }: Props) {
  const resources = [...new Set(permissions.map((permission) => permission.split(':')[0] ?? ''))];
  const toggle = (permission: string) =>
    onChange(held.includes(permission) ? held.filter((other) => other !== permission) : [...held, permission]);
  return (
    <table className={classes.grid}>
      <thead>
        <tr>
          <th scope="col">
            <span className="m-hidden">What</span>
          </th>
          {columns.map((action) => (
            <th key={action} scope="col">
              {action}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {resources.map((resource) => (
          <tr key={resource}>
            <th scope="row">{resource}</th>
            {columns.map((action) => {
              const permission = `${resource}:${action}`;
              return (
                <td key={action}>
                  {permissions.includes(permission) && (
                    <Checkbox
                      aria-label={permission}
                      checked={held.includes(permission)}
                      disabled={!mayGive(permission)}
                      onChange={() => toggle(permission)}
                    />
                  )}
                </td>
              );
            })}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
