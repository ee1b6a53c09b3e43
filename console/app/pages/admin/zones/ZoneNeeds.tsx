import { Alert, Skeleton, Stack } from '@mantine/core';
import { useRequirements } from '../../../api/deployment';
import type { Zone } from '../../../api/types';
import { DataTable } from '../../../ui/DataTable';
import { ProblemNote } from '../../../ui/ProblemNote';
import { WarningIcon } from '../../../ui/icons';
import classes from './ZoneNeeds.module.css';

/** What a zone needs of the DNS and of certificates, and what is unwise about it as it is. */
export function ZoneNeeds({ zone }: { zone: Zone }) {
  const needs = useRequirements(zone.id);
  if (needs.isPending) return <Skeleton height={120} />;
  if (needs.isError) return <ProblemNote error={needs.error} onRetry={() => void needs.refetch()} />;
  const { dns, certificates, warnings } = needs.data;
  return (
    <Stack gap="sm">
      {warnings.length > 0 && (
        <Alert color="orange" variant="light" icon={<WarningIcon />} title="What to look at">
          <ul className={classes.warnings}>
            {warnings.map(({ code, field, message }) => (
              <li key={`${code}/${field ?? ''}/${message}`}>
                {field && (
                  <>
                    <code>{field}</code>:{' '}
                  </>
                )}
                {message}.
              </li>
            ))}
          </ul>
        </Alert>
      )}
      {dns.length > 0 && (
        <DataTable
          dense
          caption="DNS records it needs"
          rows={dns}
          rowKey={(need) => need.name}
          columns={[
            { label: 'Name', render: (need) => <code>{need.name}</code> },
            { label: 'Points to', render: (need) => need.points_to },
          ]}
        />
      )}
      {certificates.length > 0 && (
        <DataTable
          dense
          caption="Names in public certificates"
          rows={certificates}
          rowKey={(need) => `${need.name}/${need.held_by}`}
          columns={[
            { label: 'Name', render: (need) => <code>{need.name}</code> },
            { label: 'Held by', render: (need) => need.held_by },
          ]}
        />
      )}
    </Stack>
  );
}
