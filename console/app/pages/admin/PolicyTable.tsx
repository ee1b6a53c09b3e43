import { usePolicy, useSettings } from '../../api/people';
import type { PolicyItem, SettingValue } from '../../api/types';
import { DataTable } from '../../ui/DataTable';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';

/** What holds for a person, and which group each of it comes from. */
export function PolicyTable({ userId }: { userId: string }) {
  const policy = usePolicy(userId);
  const settings = useSettings();
  if (policy.isError) return <ProblemNote error={policy.error} onRetry={() => void policy.refetch()} />;
  if (!policy.data) return <PageSkeleton />;
  const meaning = (name: string) => settings.data?.find((setting) => setting.name === name)?.meaning;
  return (
    <DataTable
      dense
      caption="Policy that holds"
      rows={policy.data}
      rowKey={(item) => item.setting}
      columns={[
        { label: 'Setting', render: (item) => <span title={meaning(item.setting)}>{settingName(item.setting)}</span> },
        { label: 'Value', render: (item) => shownValue(item.value) },
        { label: 'From', render: origin },
      ]}
    />
  );
}

function origin(item: PolicyItem): string {
  if (item.source === 'account') return 'the account itself';
  return item.group ? `${item.group.name} (${item.group.priority})` : 'default';
}

/** `clipboard_in` as a person reads it. */
export function settingName(name: string): string {
  const words = name.replace(/_s$/, ' (seconds)').replace(/_mb$/, ' (MB)').replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function shownValue(value: SettingValue): string {
  if (value === null) return '—';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value)) return value.length === 0 ? 'any' : value.join(', ');
  return String(value);
}
