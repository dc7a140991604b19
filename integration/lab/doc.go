// Package lab compares two clients under the same faults: one is bare, the other
// has the suite's defaults. A test sets both up, an [Experiment] drives and breaks
// them, and each [Record] becomes a row of the table.
package lab
