import classes from './Meter.module.css';

/** How much of a resource is promised, as a bar and in figures. */
export function Meter({ name, used, total, unit }: { name: string; used: number; total: number; unit: string }) {
  const share = total > 0 ? Math.min(1, used / total) : 0;
  return (
    <div className={classes.meter} title={`${name}: ${used} of ${total} ${unit}`}>
      <span className={classes.name}>{name}</span>
      <span className={classes.track} aria-hidden="true">
        <span className={classes.fill} data-high={share > 0.9 || undefined} style={{ width: `${share * 100}%` }} />
      </span>
      <span className={classes.figures}>
        {used}/{total} {unit}
      </span>
    </div>
  );
}
